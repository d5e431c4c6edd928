"""What replaying a log costs: seconds and peak memory of `agoge policy replay` for a million decisions.

    python -m bench.replay [--decisions N] [--served] [--policy FILE] [--json]

The log is synthetic. No two decisions have the same scores: fourteen labels, as the shipped classifier has, one
of them more or less sure. A tenth is asked for by name, a twentieth is out of domain. They are taken by the policy
with its gates 0.1 higher, written by the service's own log sink, and replayed by the policy as it is. `--served`
puts a line of another fact behind each, as in the log of a server. The command is one process with one thread; a
log of a tenth of the size is replayed before, to show whether memory grows.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, TextIO

import click

from router.core.decide import decide
from router.core.facts import BackendAnswered, Decided
from router.core.policy import Policies, Policy, WhenLabel
from router.core.scores import Scores
from router.policy_file import load_policies
from router.sinks.log import LogSink

DECISIONS = 1_000_000
LABELS = 14
ASKED, STRANGE, STRICTER = 0.1, 0.05, 0.1


def stricter(policy: Policy) -> Policy:
    """Return the policy with gates that open later."""
    adapters = [
        replace(a, when=WhenLabel(a.when.label, min(1.0, a.when.at_least + STRICTER)))
        if isinstance(a.when, WhenLabel)
        else a
        for a in policy.adapters
    ]
    return replace(policy, adapters=tuple(adapters), revision="before")


def taken(policies: Policies, count: int) -> Iterator[Decided]:
    """Yield decisions of every caller in turn; the same ones every time."""
    random = Random(0)
    profiles = [stricter(policy) for policy in policies.profiles.values()]
    known = {a.when.label for policy in profiles for a in policy.adapters if isinstance(a.when, WhenLabel)}
    labels = [*sorted(known), *(f"label-{number}" for number in range(LABELS - len(known)))]
    for number in range(count):
        policy = profiles[number % len(profiles)]
        raw = {label: random.random() ** 8 for label in labels}
        raw[random.choice(labels)] += 2 * random.random()
        total = sum(raw.values())
        scores = Scores({label: value / total for label, value in raw.items()}, random.random() < STRANGE)
        asked = frozenset({random.choice(policy.askable())}) if random.random() < ASKED else None
        decision = replace(decide(policy, scores, asked), classifier="bench")
        yield Decided(f"dec_{random.getrandbits(128):032x}", decision, "miss", 0.003, f"req-{number}", asked)


def write_log(file: TextIO, policies: Policies, count: int, served: bool) -> None:
    """Write a log; `served` adds what else a server says about each request."""
    sink = LogSink(file)
    for fact in taken(policies, count):
        sink.record(fact)
        if served:
            sink.record(BackendAnswered(fact.id, "primary", fact.decision.blend.id, 0.2, 1.5, 120))


def measure(log: Path, policy: Path) -> dict[str, float]:
    """Replay a log in a process of its own: seconds by the clock and of the processor, and peak resident bytes."""
    command = [sys.executable, "-m", "router.cli", "policy", "replay", "--json"]
    started, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen([*command, "--log", str(log), "--policy", str(policy)], stdout=out)
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            with suppress(OSError, IndexError):  # it has just ended
                # Not wait4's figure: that one would start at this process's own size.
                peak = max(
                    peak, int(Path(f"/proc/{child.pid}/status").read_text().partition("VmHWM:")[2].split()[0])
                )
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"the replay exits with {child.returncode}")
        out.seek(0)
        found = json.load(out)["totals"]
    return {
        "decisions": found["decisions"],
        "changed": found["decisions"] - found["same"],
        "log_bytes": log.stat().st_size,
        "seconds": seconds,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "decisions_per_second": found["decisions"] / seconds,
        "peak_bytes": peak * 1024,
    }


@click.command()
@click.option("--decisions", default=DECISIONS, show_default=True, type=click.IntRange(min=10))
@click.option("--served", is_flag=True, help="Another line behind each decision, as in a server's log.")
@click.option(
    "--policy", default=Path("policies/default.yaml"), show_default=True, type=click.Path(path_type=Path)
)
@click.option("--json", "as_data", is_flag=True, help="Print JSON for programs.")
def main(decisions: int, served: bool, policy: Path, as_data: bool) -> None:
    """Write a log, replay it, and print what that took."""
    policies = load_policies(policy)
    runs: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (decisions // 10, decisions):
            log = Path(folder) / f"{count}.jsonl"
            with log.open("w", encoding="utf-8") as file:
                write_log(file, policies, count, served)
            runs.append(measure(log, policy))
    machine: dict[str, Any] = {"python": platform.python_version(), "load": round(os.getloadavg()[0], 1)}
    if as_data:
        click.echo(json.dumps(machine | {"served": served, "runs": runs}, indent=2))
        return
    click.echo(f"Python {machine['python']}, load average {machine['load']}")
    for run in runs:
        click.echo(
            f"{run['decisions']:.0f} decisions ({run['log_bytes'] / 1e6:.0f} MB), {run['changed']:.0f} change: "
            f"{run['seconds']:.1f} s ({run['processor_seconds']:.1f} s of one core), "
            f"{run['decisions_per_second']:.0f} decisions/s, peak {run['peak_bytes'] / 1e6:.0f} MB"
        )


if __name__ == "__main__":
    main()
