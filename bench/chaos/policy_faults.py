"""What can go wrong with the policy file while requests run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from bench.chaos.fault import Fault
from bench.chaos.judge import Allowed, Record
from bench.chaos.policies import BROKEN, FIRST, SECOND
from bench.chaos.stage import Stage, until


async def _stale(stage: Stage) -> bool:
    async with stage.http.get(f"{stage.url}/healthz") as response:
        return bool((await response.json())["policy_stale"])


async def _good(stage: Stage) -> bool:
    return not await _stale(stage) and await stage.ready()


@asynccontextmanager
async def damaged(stage: Stage) -> AsyncIterator[None]:
    """Save a policy that cannot be used, and wait until the router says so."""
    stage.write(BROKEN)
    await until("the router to notice the broken policy", lambda: _stale(stage))
    yield
    stage.write(FIRST)


@asynccontextmanager
async def alternating(stage: Stage) -> AsyncIterator[None]:
    """Save the one policy and the other in turn; the router looks once a second."""

    async def swap() -> None:
        while True:
            for policy in (SECOND, FIRST):
                stage.write(policy)
                await asyncio.sleep(1.05)

    task = asyncio.create_task(swap())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        stage.write(FIRST)


def _reported(log: Sequence[Record], _: object) -> bool:
    return any(line.get("fact") == "PolicyReloaded" and line["error"] is not None for line in log)


def _swapped(log: Sequence[Record], records: Sequence[Record]) -> bool:
    revisions = {line["policy"] for line in log if line.get("fact") == "Decided" and line["tenant"] == "default"}
    return len(revisions) == 2


FAULTS = [
    Fault(
        "Policy", "policy-broken", "somebody saves a broken file",
        "Nothing: the policy before stays in force. `/healthz` says `policy_stale`, with every mistake.",
        damaged, Allowed(), _reported, _good, lambda record: True,
    ),
    Fault(
        "Policy", "policy-swapped", "it changes every second, backends included",
        "Nothing: each request is decided and answered by one revision, the one that it began with.",
        alternating, Allowed(), _swapped, _good, lambda record: True, seconds=3.2,
    ),
]  # fmt: skip
