"""Decisions that another process took: told through a real server, to the same caller alone, without any text."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest
import redis

from router.caches.redis import RedisCache
from router.core.decide import decide
from router.core.facts import CacheFailed
from router.core.policy import Policy
from router.core.scores import Neighbour, Scores
from router.recent import Taken
from router.shared_recent import SharedRecent
from tests.caches.servers import Server
from tests.core.profiles import CORE, PHYSICS, policy
from tests.stubs import Facts

POLICY = policy(CORE, PHYSICS)  # tenant acme, role editor
SECRET = b"a secret for tests only, 32 bytes"
EXEMPLARS = ("an unmarked exemplar", "why is the marked sky blue")
NEAR = (Neighbour(EXEMPLARS[1], "physics", 0.75), Neighbour(EXEMPLARS[0], "physics", 0.5))


@dataclass
class Numbered:
    """Exemplars by number."""

    fingerprint: str = "words-1"

    def number_of(self, text: str, label: str) -> int | None:
        return EXEMPLARS.index(text) if text in EXEMPLARS else None

    def exemplar(self, number: int) -> tuple[str, str] | None:
        return (EXEMPLARS[number], "physics") if number < len(EXEMPLARS) else None


def taken(id: str) -> Taken:
    decision = replace(decide(POLICY, Scores({"physics": 0.9}), None), classifier="words-1")
    return Taken(id, decision, POLICY, "model", "miss", NEAR)


def process(
    server: Server,
    facts: Facts | None = None,
    *,
    secret: bytes = SECRET,
    classifier: str = "words-1",
    in_force: Policy | None = POLICY,
    kept: int = 100,
) -> SharedRecent:
    """Return the memory of one of several processes."""
    cache = RedisCache(server.unix_url, timeout=30.0, ttl=120)
    record = (facts or Facts()).record
    return SharedRecent(cache, secret, Numbered(classifier), lambda tenant, role: in_force, record, kept)


async def keep(memory: SharedRecent, *ids: str) -> None:
    for id in ids:
        memory.keep(taken(id))
    await memory.aclose()


async def test_another_process_tells_the_whole_of_it(server: Server) -> None:
    one, other = process(server), process(server)
    await keep(one, "a", "b", "c")
    assert [await other.look_up(id, "acme", "editor") for id in "abc"] == [taken(id) for id in "abc"]
    assert await other.look_up("d", "acme", "editor") is None


async def test_one_that_a_busy_process_hands_on_late_is_found(server: Server) -> None:
    one, other = process(server), process(server)
    asked = asyncio.create_task(other.look_up("a", "acme", "editor"))
    await asyncio.sleep(0.4)
    await keep(one, "a")
    assert await asked == taken("a")


async def test_nobody_else_finds_it(server: Server) -> None:
    facts = Facts()
    await keep(process(server), "a")
    assert await process(server, facts).look_up("a", "acme", None) is None
    assert await process(server, facts).look_up("a", "default", "editor") is None
    assert await process(server, facts, secret=SECRET[::-1]).look_up("a", "acme", "editor") is None
    assert facts.seen == []


async def test_no_text_lies_in_the_server_and_nothing_stays(server: Server, inspect: redis.Redis) -> None:
    await keep(process(server), "a")
    (name,) = inspect.keys("*")
    assert b"exemplar" not in inspect.get(name)
    assert b"marked" not in inspect.get(name)
    assert 3_000_000 < inspect.pttl(name) <= 3_600_000


async def test_an_exemplar_that_may_be_the_prompt_itself_is_not_pointed_at(server: Server) -> None:
    memory = process(server)
    itself = replace(taken("a"), nearest=(replace(NEAR[0], similarity=1.0), NEAR[1]))
    memory.keep(itself)
    await memory.aclose()
    assert await memory.look_up("a", "acme", "editor") == itself  # this process knows anyway
    assert await process(server).look_up("a", "acme", "editor") == replace(itself, nearest=None)


async def test_what_somebody_else_wrote_there_is_not_told(server: Server, inspect: redis.Redis) -> None:
    await keep(process(server), "a", "b")
    first, second = inspect.keys("*")
    inspect.set(first, inspect.get(second))  # a whole and sealed decision, under another's name
    inspect.set(second, b"0123456789abcdef[]")
    facts = Facts()
    other = process(server, facts)
    assert [await other.look_up(id, "acme", "editor") for id in "ab"] == [None, None]
    assert [fact.operation for fact in facts.of(CacheFailed)] == ["get", "get"]


async def test_another_classifier_does_not_number_the_same_exemplars(server: Server) -> None:
    await keep(process(server), "a")
    found = await process(server, classifier="words-2").look_up("a", "acme", "editor")
    assert found == replace(taken("a"), nearest=None)


async def test_after_a_reload_it_is_explained_by_the_policy_that_took_it(server: Server) -> None:
    newer = replace(POLICY, revision="fedcba9876543210")
    await keep(process(server), "a")
    knew = process(server)
    assert await knew.look_up("a", "acme", "editor") is not None
    assert await process(server, in_force=newer).look_up("a", "acme", "editor") is None  # never knew the older one


async def test_a_dead_server_costs_no_decision_of_ones_own(server: Server) -> None:
    facts = Facts()
    memory = process(server, facts, kept=1)
    server.kill()
    await keep(memory, "a", "b")
    assert await memory.look_up("b", "acme", "editor") == taken("b")
    assert await memory.look_up("a", "acme", "editor") is None
    assert [fact.operation for fact in facts.of(CacheFailed)] == ["put", "get"]


async def test_a_burst_goes_to_the_server_together(server: Server, inspect: redis.Redis) -> None:
    memory, other = process(server), process(server)
    ids = [f"dec_{number}" for number in range(500)]
    for id in ids:
        memory.keep(taken(id))
        if id.endswith("9"):
            await asyncio.sleep(0)
    await memory.aclose()
    assert inspect.dbsize() == 500
    assert all([await other.look_up(id, "acme", "editor") == taken(id) for id in ids[::50]])


@pytest.mark.parametrize("count", [1, 3])
async def test_what_waits_is_handed_on_before_the_end(server: Server, inspect: redis.Redis, count: int) -> None:
    memory = process(server)
    for number in range(count):
        memory.keep(taken(f"dec_{number}"))
    await memory.aclose()
    assert inspect.dbsize() == count
