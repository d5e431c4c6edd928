"""What happens when the router itself is ended: by SIGTERM with streams open, and by SIGKILL."""

from __future__ import annotations

import asyncio
import signal
import time

from bench.chaos.fault import answered_by_primary
from bench.chaos.judge import Allowed, broken, count
from bench.chaos.policies import APART, catalogue
from bench.chaos.run import Finding, Marks, flowing
from bench.chaos.stage import GRACE_SECONDS, WORKERS, Stage, until

MARGIN = 15.0  # seconds beyond the grace for closing everything on a busy machine
WITHIN, BEYOND = 0.15, 1.5
"""Seconds between pieces: of answers that end within the grace, and of those that cannot."""
_JUST = 0.2  # seconds: whoever asked so shortly before may not have been heard yet


async def _ended(stage: Stage) -> float:
    process = stage.process
    assert process is not None

    async def ended() -> bool:
        return process.poll() is not None

    return await until("the router to end", ended, GRACE_SECONDS + MARGIN)


async def _open(stage: Stage, number: int, *, most: bool = False) -> bool:
    found = await stage.open_answers()
    return found <= number if most else found >= number


async def drained(stage: Stage, seconds: float) -> Finding:
    """SIGTERM while answers run. Those of the first engine end in time; those of the second cannot."""
    finding = Finding(
        "process-sigterm", "Process", "SIGTERM while answers run",
        f"No new connection is taken. Answers under way have {GRACE_SECONDS:g} s and end whole; after that a "
        "stream ends with an error event `server_stopping` and `[DONE]`, a whole answer with 503 of that code.",
    )  # fmt: skip
    await until("the first engine to be asked again", lambda: answered_by_primary(stage))
    marks = Marks(stage)
    await stage.behave("primary", "", WITHIN)
    await stage.behave("spare", "", BEYOND)
    load = stage.load(workers=2 * WORKERS)
    await until("answers to be open", lambda: _open(stage, WORKERS))
    await asyncio.sleep(2 * _JUST)
    begin = time.monotonic()
    stage.signal(signal.SIGTERM)
    finding.lasted = await _ended(stage)
    if stage.process is not None and stage.process.returncode != 0:
        finding.violations.append(f"it ended with {stage.process.returncode}")
    end = time.monotonic()
    records = await load.stop()
    for engine in stage.engines:
        await stage.behave(engine, "")
    await until("the engines to be free", lambda: _open(stage, 0, most=True))
    started = time.monotonic()
    await stage.serve()
    finding.recovery = time.monotonic() - started
    under_way = [r for r in records if r["began"] < begin - _JUST and r["ended"] > begin]
    finding.requests, finding.during = count(records), count(under_way)
    if not {"whole", "refused: server_stopping", "broken off: server_stopping"} <= finding.during.keys():
        finding.violations.append("not every kind of answer was under way, so this run proves nothing")
    allowed = Allowed(
        frozenset({"server_stopping"}),
        lambda r: bool(r["tenant"] == APART and r["kind"] != "feedback"),
        gone=lambda r: r["began"] >= begin - _JUST,
    )
    finding.violations += broken(marks.evidence(records, begin, end), allowed, catalogue())
    return finding


async def killed(stage: Stage, seconds: float) -> Finding:
    """SIGKILL while feedback is given: what was acknowledged is kept."""
    finding = Finding(
        "process-sigkill", "Process", "SIGKILL",
        "Requests under way are lost, with their connections. No feedback that was acknowledged is lost.",
    )  # fmt: skip
    marks = Marks(stage)
    load = stage.load()
    await flowing(load)
    await asyncio.sleep(seconds)
    begin = time.monotonic()
    stage.signal(signal.SIGKILL)
    finding.lasted = await _ended(stage)
    end = time.monotonic()
    records = await load.stop()
    await until("the engines to be free", lambda: _open(stage, 0, most=True))
    await stage.serve()
    finding.recovery = time.monotonic() - end
    finding.requests = count(records)
    finding.during = count(r for r in records if r["ended"] >= begin and r["began"] <= begin)
    if not any(r["kind"] == "feedback" and r["status"] == 201 for r in records):
        finding.violations.append("no feedback was given, so this run proves nothing")
    evidence = marks.evidence(records, begin, end)
    finding.violations += broken(evidence, Allowed(gone=lambda r: r["ended"] >= begin), catalogue())
    return finding


FAULTS = {"process-sigterm": drained, "process-sigkill": killed}
