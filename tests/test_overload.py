"""Five times more than an engine can serve: who gets in is served in time, the others hear when to come back.

The clock here is a count of answers, so that a busy machine changes nothing; `python -m bench.overload` measures.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench.overload import Answer, broken, quantile, summary
from router.admission import Admission
from router.core.errors import Overloaded
from router.core.facts import Occupied
from router.policy_file import load_policies
from tests.stubs import POLICY, Facts, write_policy

SLOTS = 8


async def served(folder: Path, per_step: int, steps: int = 200) -> tuple[list[int], list[Overloaded], Facts]:
    """Let so many come per step, an answer taking as many as there are slots; return each one's wait in steps."""
    facts, now, running = Facts(), 0, []
    admission = Admission(facts.record, clock=lambda: float(now))
    capacity = f"capacity: {{ first: {{ at_once: {SLOTS}, wait: 600 }} }}\n"
    policies = load_policies(write_policy(folder, POLICY + capacity))
    admission.apply(policies, {"first": 1})
    waits: list[int] = []
    refused: list[Overloaded] = []

    async def one() -> None:
        came = now
        try:
            place = await admission.enter(("first",))
        except Overloaded as refusal:
            refused.append(refusal)
            return
        waits.append(now - came)
        running.append((now, place))

    tasks = []
    for now in range(1, steps + 1):
        tasks += [asyncio.create_task(one()) for _ in range(per_step)]
        await asyncio.sleep(0)
        while running and running[0][0] <= now - SLOTS:
            running.pop(0)[1].leave()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    while running:
        running.pop(0)[1].leave()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    return waits, refused, facts


async def test_five_times_the_full_load_makes_nobody_who_gets_in_wait_for_long(tmp_path: Path) -> None:
    waits, refused, _ = await served(tmp_path, 1)
    assert (waits, refused) == ([0] * 200, [])
    waits, refused, facts = await served(tmp_path, 5)
    assert SLOTS + max(waits) <= 2 * SLOTS, "the slowest is at most twice as slow as at full load"
    assert len(waits) + len(refused) == 1000
    assert len(waits) >= 200, "and no slot stays empty meanwhile"
    assert all(1 <= (refusal.retry_after or 0) <= 60 for refusal in refused)
    assert max(fact.in_use for fact in facts.of(Occupied)) == SLOTS
    assert facts.of(Occupied)[-1] == Occupied("first", 0, 0)


def test_the_measurement_says_what_breaks_the_contract() -> None:
    full = summary([Answer(200, 1.0, None)] * 100, 10)
    good = summary([Answer(200, 1.9, None)] * 100 + [Answer(429, 0.01, "2")] * 400, 10)
    assert (good["p99_ms"], good["refused_share"]) == (1900.0, 0.8)
    told = {"full": full, "5x": good, "p99_ratio": 1.9, "slots": 8, "most_in_engine": 8}
    assert broken(told) == []
    bad = summary([Answer(200, 2.1, None), Answer(429, 0.01, None), Answer(500, 0.01, None)], 10)
    assert len(broken(told | {"5x": bad, "p99_ratio": 2.1, "most_in_engine": 9})) == 4


def test_quantiles_by_hand() -> None:
    assert quantile([0.001 * n for n in range(1, 101)], 0.99) == 99.0
    assert quantile([0.003, 0.001, 0.002], 0.5) == 2.0
    assert quantile([0.001], 0.99) == 1.0
    assert quantile([], 0.5) == 0.0
