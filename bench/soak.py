"""`python -m bench.soak [--minutes 30] [--json FILE]`: hours of ordinary trouble in short, and what is left of
them.

The installation of bench.chaos under a mixed load in which every fifth stream is left by its client, whole
answers are given up half-way, and the policy changes every few seconds, backends included. Files, connections,
asyncio tasks and the router process's own memory are read from outside. After a tenth of the time as
warm-up, memory must not grow by 5 % or more; files and tasks must in the end be those of the beginning; no
promise of bench.chaos.judge may break. Exits with 1 otherwise.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import aiohttp
import click

from bench.chaos.judge import Allowed, broken, count
from bench.chaos.policies import FIRST, KEYS, SECOND, catalogue
from bench.chaos.run import Marks, settle
from bench.chaos.stage import Stage, staged, until

GROWTH = 0.05
WARM_UP = 0.1  # of the time
SAMPLES = 60
SWAP_SECONDS, CANCEL_SECONDS, CANCEL_AFTER = 7.0, 0.5, 0.03


@dataclass
class Soak:
    """What was found. Memory in bytes: the medians of the first and the last sixth after the warm-up."""

    minutes: float
    requests: dict[str, int] = field(default_factory=dict)
    cancelled: int = 0
    reloads: int = 0
    first: int = 0
    last: int = 0
    files: tuple[int, int] = (0, 0)
    tasks: tuple[int, int] = (0, 0)
    samples: list[tuple[float, int, int, int]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """The share by which memory grew after the warm-up."""
        return self.last / self.first - 1


async def soak(stage: Stage, minutes: float, *, workers: int = 3, pause: float = 0.25) -> Soak:
    """Run it on a stage that is up."""
    found = Soak(minutes)
    marks, before = Marks(stage), await asyncio.to_thread(stage.footprint)
    load = stage.load(workers=workers, pause=pause, leaves=5)
    swapping = asyncio.create_task(_swap(stage, found))
    cancelling = asyncio.create_task(_cancel(stage, found))
    started, seconds = time.monotonic(), minutes * 60
    try:
        while (passed := time.monotonic() - started) < seconds:
            await asyncio.sleep(seconds / SAMPLES)
            seen = await asyncio.to_thread(stage.footprint)
            files = sum(seen.files.values()) + sum(seen.peers.values())
            found.samples.append((round(passed, 1), seen.memory, files, sum(seen.tasks.values())))
    finally:
        for task in (swapping, cancelling):
            task.cancel()
        await asyncio.gather(swapping, cancelling, return_exceptions=True)
    stage.write(FIRST)
    records = await load.stop()
    found.violations += await settle(stage, before)
    after = await asyncio.to_thread(stage.footprint)
    found.files = sum(before.files.values()), sum(after.files.values())
    found.tasks = sum(before.tasks.values()), sum(after.tasks.values())
    found.requests = count(records)
    evidence = marks.evidence(records, 0.0, 0.0)
    found.violations += broken(evidence, Allowed(left=True), catalogue())
    found.reloads = sum(line.get("fact") == "PolicyReloaded" for line in evidence.log)
    warm = [memory for passed, memory, _, _ in found.samples if passed >= seconds * WARM_UP]
    window = max(1, len(warm) // 6)
    found.first, found.last = round(median(warm[:window])), round(median(warm[-window:]))
    if found.growth >= GROWTH:
        found.violations.append(f"memory grew by {found.growth:.1%}, from {found.first} to {found.last} bytes")
    for what, number in (
        ("reload", found.reloads),
        ("cancelled request", found.cancelled),
        ("request", len(records)),
    ):
        if not number:
            found.violations.append(f"there was no {what}, so this run proves nothing")
    return found


async def _swap(stage: Stage, found: Soak) -> None:
    while True:
        for policy in (SECOND, FIRST):
            await asyncio.sleep(SWAP_SECONDS)
            stage.write(policy)


async def _cancel(stage: Stage, found: Soak) -> None:
    """Give up whole answers half-way."""
    body = {"messages": [{"role": "user", "content": "hello"}]}
    headers = {"Authorization": f"Bearer {next(iter(KEYS))}"}
    limit = aiohttp.ClientTimeout(total=CANCEL_AFTER)
    while True:
        await asyncio.sleep(CANCEL_SECONDS)
        try:
            url = f"{stage.url}/v1/chat/completions"
            async with stage.http.post(url, json=body, headers=headers, timeout=limit) as response:
                await response.read()
        except (TimeoutError, aiohttp.ClientError):
            found.cancelled += 1


def _told(found: Soak) -> Sequence[str]:
    return [
        f"{found.minutes:g} minutes: {sum(found.requests.values())} requests {found.requests}, "
        f"{found.cancelled} given up, {found.reloads} reloads",
        f"memory {found.first / 1e6:.1f} -> {found.last / 1e6:.1f} MB ({found.growth:+.1%}), files "
        f"{found.files[0]} -> {found.files[1]}, tasks {found.tasks[0]} -> {found.tasks[1]}",
        *(f"BROKEN: {violation}" for violation in found.violations),
    ]


async def _run(minutes: float, data: Path) -> Soak:
    async with staged(data) as stage:
        await until("the first answer", lambda: _answers(stage))
        return await soak(stage, minutes)


async def _answers(stage: Stage) -> bool:
    return (await stage.say("hello"))[0] == 200


@click.command()
@click.option("--minutes", default=30.0, show_default=True, type=click.FloatRange(min=0.1))
@click.option("--data", default=Path(".agoge"), type=click.Path(path_type=Path), help="Where the classifier is.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures for programs.")
def main(minutes: float, data: Path, file: Path | None) -> None:
    """Let it run, and look at what is left."""
    found = asyncio.run(_run(minutes, data))
    for line in _told(found):
        click.echo(line)
    if file is not None:
        told = asdict(found) | {"growth": found.growth, "cores": os.cpu_count(), "load": os.getloadavg()[0]}
        file.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    sys.exit(1 if found.violations else 0)


if __name__ == "__main__":
    main()
