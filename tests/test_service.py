"""The spine: the order of things, one round trip to the cache, and what a cache may never do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from router.caches.memory import MemoryCache
from router.core.conversation import Conversation, Message
from router.core.errors import BlendUnavailable, Forbidden, UnknownMode
from router.core.facts import Abandoned, BackendAnswered, CacheFailed, Decided
from router.core.reply import Delta, Finish, Inventory, Usage
from router.ports import CacheUnavailable, DecisionCache
from router.service import Ask, Router
from router.wiring.reload import Loader
from router.wiring.settings import Settings
from tests.stage import SECRET
from tests.stubs import Facts, SpeakingBackend, WordScorer, until, write_policy


class Counting(MemoryCache):
    """Counts its calls, and fails when told to."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.gets = self.puts = 0
        self.fails = fails
        self.slow: asyncio.Event | None = None

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self.gets += 1
        if self.fails:
            raise CacheUnavailable("down")
        return await super().get_many(keys)

    async def put(self, key: bytes, value: bytes) -> None:
        self.puts += 1
        if self.slow is not None:
            await self.slow.wait()
        if self.fails:
            raise CacheUnavailable("down")
        await super().put(key, value)


@asynccontextmanager
async def service(
    folder: Path, cache: DecisionCache | None = None, **engines: SpeakingBackend
) -> AsyncIterator[tuple[Router, Facts, WordScorer]]:
    engines = engines or {"first": SpeakingBackend(), "second": SpeakingBackend()}
    settings = Settings(policy=write_policy(folder), backends=dict.fromkeys(("first", "second"), "stub:"))
    facts, scorer = Facts(), WordScorer()

    async def opener(address: object, policies: object, settings: object) -> SpeakingBackend:
        return engines.get(address.name, SpeakingBackend(holds=Inventory()))  # type: ignore[attr-defined]

    state = await Loader(settings, scorer, facts.record, opener).load()
    yield Router(state, scorer, MemoryCache() if cache is None else cache, SECRET, (facts,)), facts, scorer


def ask(text: str, model: str | None = None, **who: str) -> Ask:
    return Ask(Conversation((Message("user", text),)), model, {}, **who)


async def test_one_look_up_one_embedding_one_stream(tmp_path: Path) -> None:
    cache, engine = Counting(), SpeakingBackend()
    async with service(tmp_path, cache, first=engine) as (router, facts, scorer):
        for turn, expected in ((1, "miss"), (2, "hit")):
            routed, reply = await router.answer(ask("sky"))
            assert [type(event) for event in [e async for e in reply.events]] == [Delta] * 3 + [Finish, Usage]
            assert (routed.cache, cache.gets, scorer.calls, len(engine.prompts)) == (expected, turn, 1, turn)
            await until(lambda: cache.puts == 1)
        assert [fact.cache for fact in facts.of(Decided)] == ["miss", "hit"]
        assert len(facts.of(BackendAnswered)) == 2


async def test_a_slow_put_holds_nobody_up(tmp_path: Path) -> None:
    cache = Counting()
    cache.slow = asyncio.Event()
    async with service(tmp_path, cache) as (router, _, _):
        routed = await asyncio.wait_for(router.decide(ask("sky")), 10)
        assert routed.decision.blend.weights == {"core": 1.0, "physics": 0.8}
        cache.slow.set()


async def test_a_cache_that_is_down_changes_nothing_but_the_metrics(tmp_path: Path) -> None:
    async with service(tmp_path, Counting(fails=True)) as (router, facts, _):
        decisions = [(await router.decide(ask("sky"))).decision for _ in range(2)]
        assert decisions[0] == decisions[1]
        await until(lambda: len(facts.of(CacheFailed)) == 4)
        assert {fact.operation for fact in facts.of(CacheFailed)} == {"get", "put"}


async def test_what_is_cached_for_one_prompt_is_believed_for_no_other(tmp_path: Path) -> None:
    """Whoever can write to a shared cache moves a sealed value under another key: a miss, no other speaker."""

    class Swapping(MemoryCache):
        async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
            return [next((value for k, (value, _) in self._entries.items() if k != key), None) for key in keys]

    async with service(tmp_path, Swapping()) as (router, facts, _):
        await router.decide(ask("sky"))
        await asyncio.sleep(0.05)
        routed = await router.decide(ask("режим: академический\nэссе"))
        assert routed.decision.blend.weights == {"academic": 1.0}
        assert routed.cache == "miss"
        assert len(facts.of(CacheFailed)) == 1


async def test_a_switched_off_mode_does_not_take_the_expert_from_the_question_before_it(tmp_path: Path) -> None:
    """Behind "mode: auto" the engine sees the same user messages as before it, but there is nothing to score."""
    asked = (Message("user", "sky"), Message("assistant", "blue"), Message("user", "mode: auto"))
    async with service(tmp_path) as (router, _, _):
        off = await router.decide(Ask(Conversation(asked)))
        assert off.decision.blend.weights == {"core": 1.0}
        await asyncio.sleep(0.05)
        routed = await router.decide(ask("sky"))
        assert (routed.decision.blend.weights, routed.cache) == ({"core": 1.0, "physics": 0.8}, "miss")


async def test_nothing_is_scored_for_an_empty_subject(tmp_path: Path) -> None:
    async with service(tmp_path) as (router, _, scorer):
        routed = await router.decide(ask(" \n "))
        assert routed.decision.blend.weights == {"core": 1.0}
        assert (routed.decision.label, scorer.calls) == (None, 0)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (ask("режим: алхимия"), UnknownMode),
        (ask("x", model="nope"), UnknownMode),
        (ask("x", tenant="nobody"), Forbidden),
        (ask("x", role="nobody"), Forbidden),
    ],
)
async def test_a_refusal_costs_no_embedding_and_no_look_up(
    tmp_path: Path, asked: Ask, error: type[Exception]
) -> None:
    cache = Counting()
    async with service(tmp_path, cache) as (router, facts, scorer):
        with pytest.raises(error):
            await router.answer(asked)
        assert (cache.gets, scorer.calls, facts.of(Decided)) == (0, 0, [])
        assert router.state.fleet.idle.is_set()


async def test_a_bare_directive_that_nobody_serves_is_refused_and_not_confirmed(tmp_path: Path) -> None:
    engine = SpeakingBackend(holds=Inventory(names=frozenset({"core"})))
    async with service(tmp_path, first=engine) as (router, _, _):
        with pytest.raises(BlendUnavailable, match="academic-"):
            await router.answer(ask("режим: академический"))
        assert engine.prompts == []


async def test_closing_an_answer_that_nobody_started_frees_the_engine(tmp_path: Path) -> None:
    engine = SpeakingBackend(hangs_after=1)
    async with service(tmp_path, first=engine) as (router, facts, _):
        _, reply = await router.answer(ask("sky"))
        assert (engine.open_streams, router.state.fleet.idle.is_set()) == (1, False)
        await reply.events.aclose()
        assert (engine.open_streams, router.state.fleet.idle.is_set()) == (0, True)
        assert len(facts.of(Abandoned)) == 1
        assert [event async for event in reply.events] == []
