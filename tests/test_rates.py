"""Requests per minute: who is counted, by one process or for all, and what happens when the server is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from router.core.facts import CacheFailed
from router.core.policy import Policies
from router.core.quota import MINUTE
from router.policy_file import load_policies
from router.ports import CacheUnavailable
from router.rates import Rates
from tests.stubs import POLICY, Facts, write_policy

LIMITED = """\
tenants:
  a: { limits: { per_minute: 6 } }
  b: { limits: { per_minute: 6 } }
  free: {}
roles:
  intern: { limits: { per_minute: 2 } }
"""
SECRET = b"a secret for tests only, 32 bytes"


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Counting:
    """A meter that remembers what it was asked, answers as it is told, or fails."""

    answer: tuple[bool, list[int]] | None = None
    fails: bool = False
    asked: list[tuple[list[bytes], list[int]]] = field(default_factory=list)

    async def spend(self, keys: Sequence[bytes], costs: Sequence[int]) -> tuple[bool, list[int]]:
        self.asked.append((list(keys), list(costs)))
        await asyncio.sleep(0)
        if self.fails:
            raise CacheUnavailable("gone")
        return self.answer or (True, [0] * len(keys))

    async def aclose(self) -> None:
        pass


@pytest.fixture
def policies(tmp_path: Path) -> Policies:
    return load_policies(write_policy(tmp_path, POLICY + LIMITED))


async def sent(rates: Rates, policies: Policies, tenant: str, count: int, role: str | None = None) -> list[bool]:
    """Send so many requests at once; return which of them may go."""
    left = await asyncio.gather(*(rates.spend(policies, (tenant, role)) for _ in range(count)))
    return [one is None or one.retry_after is None for one in left]


async def test_as_many_as_the_limit_then_one_per_step(policies: Policies) -> None:
    clock = Clock()
    rates = Rates(Facts().record, clock=clock)
    assert await sent(rates, policies, "a", 8) == [True] * 6 + [False] * 2
    clock.now += 9.9
    assert await sent(rates, policies, "a", 1) == [False]
    clock.now += 0.1
    assert await sent(rates, policies, "a", 2) == [True, False]
    clock.now += 3600
    assert await sent(rates, policies, "a", 7) == [True] * 6 + [False], "what was not used is not saved up"


async def test_tenants_are_counted_apart_and_a_role_within_its_tenant(policies: Policies) -> None:
    rates = Rates(Facts().record, clock=Clock())
    assert await sent(rates, policies, "a", 3, "intern") == [True, True, False]
    assert await sent(rates, policies, "a", 5) == [True] * 4 + [False]
    assert await sent(rates, policies, "b", 6) == [True] * 6


async def test_who_has_no_limit_costs_no_round_trip(policies: Policies) -> None:
    meter = Counting()
    rates = Rates(Facts().record, meter, SECRET, Clock())
    assert await rates.spend(policies, ("free", None)) is None
    assert meter.asked == []


async def test_one_round_trip_for_tenant_and_role_and_no_name_in_it(policies: Policies) -> None:
    meter = Counting()
    await Rates(Facts().record, meter, SECRET, Clock()).spend(policies, ("a", "intern"))
    [(keys, costs)] = meter.asked
    assert costs == [MINUTE // 6, MINUTE // 2]
    assert [len(key) for key in keys] == [32, 32]
    await Rates(Facts().record, meter, b"another secret, also of 32 bytes", Clock()).spend(
        policies, ("a", "intern")
    )
    assert set(meter.asked[1][0]).isdisjoint(keys), "whoever reads the server cannot test names against it"


async def test_the_shared_count_decides(policies: Policies) -> None:
    rates = Rates(Facts().record, Counting((False, [MINUTE])), SECRET, Clock())
    left = await rates.spend(policies, ("a", None))
    assert left is not None
    assert (left.limit, left.remaining, left.retry_after) == (6, 0, 10.0)


async def test_when_the_server_is_gone_counting_goes_on_where_it_was(policies: Policies) -> None:
    facts, meter, clock = Facts(), Counting(), Clock()
    rates = Rates(facts.record, meter, SECRET, clock)
    assert await sent(rates, policies, "a", 4) == [True] * 4
    meter.fails = True
    assert await sent(rates, policies, "a", 5) == [True] * 2 + [False] * 3, "neither open nor shut"
    assert await sent(rates, policies, "b", 6) == [True] * 6
    assert {fact.operation for fact in facts.of(CacheFailed)} == {"spend"}
    clock.now += 10
    meter.fails = False
    assert await sent(rates, policies, "a", 1) == [True]


async def test_a_flood_is_refused_without_asking_the_server(policies: Policies) -> None:
    meter = Counting()
    rates = Rates(Facts().record, meter, SECRET, Clock())
    await sent(rates, policies, "a", 6)
    asked = len(meter.asked)
    assert await sent(rates, policies, "a", 50) == [False] * 50
    assert len(meter.asked) == asked


async def test_what_costs_several_is_counted_whole_or_not_at_all(policies: Policies) -> None:
    rates = Rates(Facts().record, clock=Clock())
    left = await rates.spend(policies, ("a", None), 7)
    assert left is not None
    assert left.retry_after == float("inf")
    assert await sent(rates, policies, "a", 6) == [True] * 6
