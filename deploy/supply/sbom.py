"""`make sbom`: what an Agoge that serves is made of, as CycloneDX JSON: packages, weights, licences, hashes.

cyclonedx-py describes the environment: names, licences, who needs whom. Of that, what is locked for serving is
kept, each with the hashes of the lock, and the models inside the packages of weights are named: their licences are
their own. Knows the lock files and CycloneDX, nothing of Agoge. Exit codes: 0 written, 1 not: above all, when the
environment is not what is locked.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import NormalizedName, canonicalize_name
from pip_requirements_parser import RequirementsFile  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
# As weights.in writes it: PACKAGE==VERSION  # MODEL, DETAILS, SPDX-LICENCE: PURPOSE
MODEL = re.compile(r"(?P<package>[\w-]+)==\S+\s+# (?P<model>[^,]+),.* (?P<licence>[\w.-]+): (?P<purpose>.+)")
# What a package forgets to say in its metadata, as its own LICENSE file says it.
CONCLUDED = {"protobuf": "BSD-3-Clause"}


class Differs(Exception):
    """The environment is not what is locked; the message says where."""


def locked() -> dict[NormalizedName, tuple[str, list[str]]]:
    """Return what is locked for serving here: name -> (version, SHA-256 digests), other platforms' apart."""
    return {
        canonicalize_name(each.name): (
            each.get_pinned_version,
            [option.partition(":")[2] for option in each.hash_options],
        )
        for file in ("serve", "weights")
        for each in RequirementsFile.from_file(str(REQUIREMENTS / f"{file}.txt")).requirements
        if each.marker is None or each.marker.evaluate()
    }


def models() -> Iterator[tuple[NormalizedName, dict[str, Any]]]:
    """Yield the package and the component of each model that requirements/weights.in names."""
    for line in (REQUIREMENTS / "weights.in").read_text("utf-8").splitlines():
        if line and line[0] != "#":
            found = MODEL.match(line)
            if found is None:
                raise Differs(f"weights.in: {line!r} does not say # MODEL, DETAILS, SPDX-LICENCE: PURPOSE")
            model = {
                "type": "machine-learning-model",
                "bom-ref": f"model:{found['model']}",
                "name": found["model"],
                "description": found["purpose"],
                "licenses": [{"license": {"id": found["licence"], "acknowledgement": "concluded"}}],
            }
            yield canonicalize_name(found["package"]), model


def environment(python: str) -> dict[str, Any]:
    """Return the bill of materials of everything in the environment."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(ROOT / "pyproject.toml")]
    command += ["--output-reproducible", "--spec-version=1.6", "--output-format=JSON", "--no-validate", python]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command line
    if done.returncode:
        raise Differs(f"{python} cannot be read: {done.stderr.strip()}")
    bill: dict[str, Any] = json.loads(done.stdout)
    return bill


def served(bill: dict[str, Any]) -> dict[str, Any]:
    """Return what is locked for serving out of the bill. Raises Differs where it is not installed as locked."""
    wanted, kept = locked(), {}
    for component in bill["components"]:
        name = canonicalize_name(component["name"])
        version, digests = wanted.get(name, (None, []))
        if version is None:
            continue
        if component["version"] != version:
            raise Differs(f"{name} {component['version']} is installed, but {version} is locked; `make setup`")
        # Of every file of the release, whichever of them the platform installs: only one of them can be right.
        component["externalReferences"] = [
            {
                "type": "distribution",
                "url": component["purl"],
                "comment": "the files of this version that the lock lets in",
                "hashes": [{"alg": "SHA-256", "content": digest} for digest in digests],
            },
            *(each for each in component.get("externalReferences", []) if each["type"] in ("vcs", "website")),
        ]
        if "licenses" not in component and name in CONCLUDED:
            component["licenses"] = [{"license": {"id": CONCLUDED[name], "acknowledgement": "concluded"}}]
        kept[name] = component
    if missing := wanted.keys() - kept.keys():
        raise Differs(f"locked, but not installed: {', '.join(sorted(missing))}; `make setup`")
    for package, model in models():
        kept[package]["components"] = [model]
    root = bill["metadata"]["component"]["bom-ref"]
    inside = {component["bom-ref"] for component in kept.values()}
    needs = [each for each in bill["dependencies"] if each["ref"] in {*inside, root}]
    for each in needs:
        each["dependsOn"] = sorted(inside.intersection(each.get("dependsOn", [])))
    return {**bill, "components": list(kept.values()), "dependencies": needs}


def main() -> int:
    """Write the bill of materials and return the exit code."""
    parser = argparse.ArgumentParser(description="Write what an Agoge that serves is made of, as CycloneDX JSON.")
    parser.add_argument("--python", default=sys.executable, help="of which environment (default: this one)")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    try:
        bill = served(environment(given.python))
    except Differs as error:
        print(f"sbom: {error}", file=sys.stderr)
        return 1
    text = json.dumps(bill, indent=2, sort_keys=True)
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        print(f"sbom: this is no CycloneDX 1.6: {wrong}", file=sys.stderr)
        return 1
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(text + "\n", encoding="utf-8")
    print(f"sbom: {len(bill['components'])} packages in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
