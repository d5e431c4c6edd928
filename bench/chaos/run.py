"""One fault under load, from before it to after the recovery: what was found. Knows no fault by name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.chaos.fault import Fault, answered_by_primary
from bench.chaos.footprint import Footprint
from bench.chaos.judge import Evidence, broken, count, p50, slowed
from bench.chaos.policies import catalogue
from bench.chaos.stage import WORKERS, LoadProcess, Stage, TookTooLong, lines, until

RECOVERY_SECONDS = 40.0
SETTLE_SECONDS = 15.0  # until everything that a request held must be free again
MEMORY = 64 * 1024 * 1024  # bytes that one fault may leave behind: caches fill, allocators keep; soak looks closer
REDIS_CONNECTIONS = 16 + 4 + 2  # what the cache's and the outcomes' pools may hold, and two being closed
THREADS = 12  # more than before: asyncio's pool grows to cores + 4 and stays


@dataclass
class Finding:
    """What one fault showed. `violations` is empty when every promise held. Seconds, and bytes of memory."""

    name: str
    group: str
    what: str
    told: str
    requests: dict[str, int] = field(default_factory=dict)
    during: dict[str, int] = field(default_factory=dict)
    p50_before: float | None = None
    p50_during: float | None = None
    lasted: float = 0.0
    recovery: float | None = None
    memory: int = 0
    violations: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """Return it for programs."""
        return asdict(self)


async def run(stage: Stage, fault: Fault, seconds: float) -> Finding:
    """Put load on, let the fault happen for `seconds` (or as long as it needs), undo it, wait, and judge."""
    finding = Finding(fault.name, fault.group, fault.what, fault.told)
    await until("the first engine to be asked again", lambda: answered_by_primary(stage))  # after the run before
    marks = Marks(stage)
    before = await asyncio.to_thread(stage.footprint)
    load = stage.load(leaves=fault.leaves)
    await flowing(load)
    await asyncio.sleep(seconds)
    begin = time.monotonic()
    async with fault.inject(stage):
        there = time.monotonic()
        await asyncio.sleep(max(seconds, fault.seconds))
        finding.lasted = time.monotonic() - begin
    bitten = time.monotonic()
    try:
        finding.recovery = await _recovered(stage, fault)
    except TookTooLong as late:
        finding.violations.append(str(late))
    end = time.monotonic()
    await asyncio.sleep(seconds / 2)
    records = await load.stop()
    settled = await settle(stage, before)
    evidence = marks.evidence(records, begin, end)
    meanwhile = [r for r in records if r["ended"] >= begin and r["began"] <= bitten]
    if not fault.bites(evidence.log, meanwhile):
        finding.violations.append("the fault was not felt, so this run proves nothing")
    finding.violations += broken(evidence, fault.allowed, catalogue()) + settled
    finding.requests, finding.during = count(records), count(meanwhile)
    finding.p50_before = p50([r for r in records if r["ended"] < begin], fault.untouched)
    finding.p50_during = p50([r for r in meanwhile if r["began"] >= there], fault.untouched)
    finding.violations += slowed(finding.p50_before, finding.p50_during)
    finding.memory = (await asyncio.to_thread(stage.footprint)).memory - before.memory
    return finding


class Marks:
    """Where the log and the engines' records ended when a run began: what comes behind belongs to it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._log = len(lines(stage.log))
        self._asked = {name: len(lines(engine.records)) for name, engine in stage.engines.items()}

    def evidence(self, records: Sequence[Mapping[str, Any]], begin: float, end: float) -> Evidence:
        """Return everything written down since."""
        stage = self._stage
        asked = {name: lines(engine.records)[self._asked[name] :] for name, engine in stage.engines.items()}
        return Evidence(records, asked, lines(stage.log)[self._log :], frozenset(stage.kept()), begin, end)


async def flowing(load: LoadProcess) -> None:
    """Wait until every worker has an answer: only then is there a before to compare with."""
    end = time.monotonic() + 60
    while len(load.records()) < 2 * WORKERS:
        if time.monotonic() > end:
            raise TookTooLong("no load came up within 60 s")
        await asyncio.sleep(0.05)


async def _recovered(stage: Stage, fault: Fault) -> float:
    started = time.monotonic()
    while not await fault.recovered(stage):
        if time.monotonic() - started > RECOVERY_SECONDS:
            raise TookTooLong(f"not recovered {RECOVERY_SECONDS:g} s after the fault was gone")
        await asyncio.sleep(0.05)
    return time.monotonic() - started


async def settle(stage: Stage, before: Footprint) -> list[str]:
    """Wait until nothing of the load is left anywhere; return what still is when the time is over."""
    end = time.monotonic() + SETTLE_SECONDS
    while True:
        after = await asyncio.to_thread(stage.footprint)
        found = left(before, after)
        if open_answers := await stage.open_answers():
            found.append(f"{open_answers} answers are still open at the engines")
        if not found or time.monotonic() > end:
            return found
        await asyncio.sleep(0.1)


def left(before: Footprint, after: Footprint) -> list[str]:
    """Return what a process that is idle again holds and did not hold before, connections in pools aside."""
    tasks = {name: number for name, number in after.tasks.items() if number > before.tasks.get(name, 0)}
    files = {name: number for name, number in after.files.items() if number > before.files.get(name, 0)}
    # A socket in no table of the kernel was closed from the other side; Redis's pool keeps it until its next use.
    closed = [files.pop(name) for name in tuple(files) if name.startswith("socket:")]
    redis = after.peers.get("redis", 0) + len(closed)
    checks = {
        f"{after.peers.get('clients', 0)} client connections are left": after.peers.get("clients", 0) > 2,  # ours
        f"{redis} connections to Redis, {len(closed)} of them dead": redis > REDIS_CONNECTIONS,
        f"{after.peers.get('engines', 0)} connections to engines": after.peers.get("engines", 0) > 6 * WORKERS,
        f"{after.peers.get('?', 0)} connections to nobody we know": after.peers.get("?", 0) > 0,
        f"{after.half_closed} connections are half closed": after.half_closed > 0,
        f"files are open: {files}": bool(files),
        f"{after.threads} threads run, {before.threads} did": after.threads > before.threads + THREADS,
        f"tasks are left: {tasks}": bool(tasks),
        f"memory grew by {(after.memory - before.memory) >> 20} MiB": after.memory - before.memory > MEMORY,
    }
    return [text for text, wrong in checks.items() if wrong]
