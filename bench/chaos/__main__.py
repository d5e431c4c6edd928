"""`python -m bench.chaos [--only NAME] [--seconds N] [--json FILE] [--page FILE]`: every fault, one after the
other.

A real `agoge serve`, two fake engines, a real Valkey behind a proxy and the load are processes of their own.
Each fault happens while the load runs, is undone, and the recovery is watched; `bench.chaos.judge` holds the
promises. Exits with 1 when one is broken. The machine should have two cores; it need not be quiet.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import click

from bench.chaos import client_faults, engine_faults, policy_faults, process_faults, redis_faults
from bench.chaos.page import page
from bench.chaos.run import Finding, run
from bench.chaos.stage import staged

FAULTS = {
    fault.name: fault
    for module in (redis_faults, engine_faults, policy_faults, client_faults)
    for fault in module.FAULTS
}
NAMES = [*FAULTS, *process_faults.FAULTS]


async def findings(names: Sequence[str], seconds: float, data: Path) -> AsyncIterator[Finding]:
    """Yield what each fault shows, on one installation."""
    async with staged(data) as stage:
        for name in names:
            if name in FAULTS:
                yield await run(stage, FAULTS[name], seconds)
            else:
                yield await process_faults.FAULTS[name](stage, seconds)


async def _all(names: Sequence[str], seconds: float, data: Path) -> list[Finding]:
    found = []
    async for finding in findings(names, seconds, data):
        found.append(finding)
        total = sum(finding.requests.values())
        recovery = "never" if finding.recovery is None else f"{finding.recovery:.1f} s"
        click.echo(f"{finding.name:22} {total:5} requests, recovery {recovery:>7}  {finding.during}")
        for violation in finding.violations:
            click.secho(f"  BROKEN: {violation}", fg="red")
    return found


@click.command()
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="May be repeated.")
@click.option("--seconds", default=4.0, show_default=True, help="Before each fault, and in it (some need more).")
@click.option("--data", default=Path(".agoge"), type=click.Path(path_type=Path), help="Where the classifier is.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the findings for programs.")
@click.option("--page", "written", type=click.Path(path_type=Path), help="Write the page for people.")
def main(only: Sequence[str], seconds: float, data: Path, file: Path | None, written: Path | None) -> None:
    """Let everything fail, and look."""
    found = asyncio.run(_all(only or NAMES, seconds, data))
    machine = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "python": platform.python_version()}
    if file is not None:
        told = {"machine": machine, "seconds": seconds, "findings": [finding.json() for finding in found]}
        file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if written is not None:
        written.write_text(page(found, machine, seconds), "utf-8")
    wrong = sum(len(finding.violations) for finding in found)
    requests = sum(sum(finding.requests.values()) for finding in found)
    click.echo(f"{len(found)} faults, {requests} requests, {wrong} broken promises")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
