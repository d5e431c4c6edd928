"""`make audit`: asks OSV about every version that is locked. Knows pip-audit and the lock files, nothing of Agoge.

pip-audit alone would not do: when it cannot ask it ends in a traceback with the same exit code as when it found
something, and what it could not look up it may count as clean. Exit codes: 0 nothing known, 1 something is known,
2 it could not be found out, which is never a pass.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

# test.txt holds all of serve.txt and build.txt. Two goes, for pip-audit wants hashes for all or for none.
LOCKS = (("test", "weights", "weights-test"), ("torch",))
CLEAN, KNOWN, UNANSWERED = 0, 1, 2


class Unanswered(Exception):
    """The service did not answer for everything; the message says what it did instead."""


def audit(files: list[Path], url: str | None, seconds: float) -> list[dict[str, Any]]:
    """Return what pip-audit reports of each locked version. Raises Unanswered unless every one was looked up."""
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--strict", "--format=json"]
    command += ["--progress-spinner=off", "--vulnerability-service=osv", f"--timeout={seconds:g}"]
    command += [f"--osv-url={url}"] if url else []
    done = subprocess.run(  # noqa: S603 - our own command line
        [*command, *(f"--requirement={file}" for file in files)], capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    dropped = [line for line in lines if line.startswith("WARNING:pip_audit._service")]  # an entry it cannot read
    if dropped:
        raise Unanswered(dropped[0])
    try:
        asked: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, LookupError):
        raise Unanswered(lines[-1].strip() if lines else "pip-audit said nothing") from None
    left_out = [each["name"] for each in asked if "vulns" not in each]
    if left_out or not asked:
        raise Unanswered(f"it skipped {', '.join(left_out) or 'everything'}")
    return asked


def told(asked: list[dict[str, Any]]) -> list[str]:
    """Return one line for each known vulnerability."""
    return [
        f"{each['name']} {each['version']}: {known['id']}"
        f"{''.join(f' ({alias})' for alias in known['aliases'][:1])}, "
        + (f"mended in {', '.join(known['fix_versions'])}" if known["fix_versions"] else "not mended yet")
        for each in asked
        for known in each["vulns"]
    ]


def main() -> int:
    """Audit, print what is known, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="*", type=Path, help="lock files; all of requirements/ when none is named")
    parser.add_argument("--url", help="a service that speaks OSV's protocol, instead of OSV itself")
    parser.add_argument("--timeout", type=float, default=30, help="seconds for each answer (default: %(default)s)")
    given = parser.parse_args()
    folder = Path(__file__).parents[2] / "requirements"
    goes = [given.files] if given.files else [[folder / f"{name}.txt" for name in names] for names in LOCKS]
    try:
        asked = [each for files in goes for each in audit(files, given.url, given.timeout)]
    except Unanswered as error:
        print(f"audit: {given.url or 'OSV'} did not answer, so nothing is known, good or bad", file=sys.stderr)
        print(f"audit: it said: {error}", file=sys.stderr)
        return UNANSWERED
    lines = told(asked)
    print("\n".join([*lines, f"audit: {len(asked)} packages asked about, {len(lines)} known vulnerabilities"]))
    return KNOWN if lines else CLEAN


if __name__ == "__main__":
    sys.exit(main())
