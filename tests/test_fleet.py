"""The fleet: who is tried, in which order, and that every engine is freed however an answer ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from router.core.blend import Blend
from router.core.conversation import Message
from router.core.errors import (
    BackendBroken,
    BackendOverloaded,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    BlendUnavailable,
)
from router.core.facts import Abandoned, BackendAnswered, BackendAttemptFailed
from router.core.plan import Plan
from router.core.reply import Delta, Event, Finish, Inventory, Prompt, Usage
from router.fleet import Fleet
from router.replicas import Replicas
from tests.stubs import Facts, SpeakingBackend, until

PAIR = Blend.of("base", {"core": 1.0, "physics": 0.8}, {"core": "./core", "physics": "./physics"})
ALONE = Blend.of("base", {"academic": 1.0}, {"academic": "./academic"}, alone=True)
STAND_IN = Inventory(stand_in=True)


def prompt(blend: Blend = PAIR) -> Prompt:
    return Prompt(blend, (Message("user", "hi"),), {}, "dec_1")


async def fleet(facts: Facts, **backends: SpeakingBackend) -> Fleet:
    made = Fleet(backends, facts.record)
    await made.look()
    return made


async def speak(made: Fleet, blend: Blend = PAIR, order: tuple[str, ...] | None = None) -> tuple[str, list[Event]]:
    reply = await made.dispatch(await made.plan(blend, order or tuple(made.backends)), prompt(blend))
    return reply.backend, [event async for event in reply.events]


async def test_the_policys_order_decides_and_exact_ones_come_before_stand_ins() -> None:
    made = await fleet(Facts(), a=SpeakingBackend(holds=STAND_IN), b=SpeakingBackend(), c=SpeakingBackend())
    assert (await made.plan(PAIR, ("a", "b", "c"))).attempts == ("b", "c", "a")
    assert (await made.plan(PAIR, ("c", "a", "b"))).attempts == ("c", "b", "a")
    assert (await made.plan(ALONE, ("a", "b", "c"))).attempts == ("b", "c")


async def test_isolated_speech_is_refused_rather_than_given_to_a_stand_in() -> None:
    facts, stand_in = Facts(), SpeakingBackend(holds=STAND_IN)
    made = await fleet(facts, a=stand_in)
    with pytest.raises(BlendUnavailable, match="academic-"):
        await made.plan(ALONE, ("a",))
    with pytest.raises(BlendUnavailable):  # and a plan that somebody made up does not get there either
        await made.dispatch(Plan(ALONE, ("a",)), prompt(ALONE))
    assert stand_in.prompts == []


async def test_a_stand_in_that_went_down_meanwhile_still_only_stands_in() -> None:
    stand_in = SpeakingBackend(holds=STAND_IN)
    made = await fleet(Facts(), a=stand_in)
    attempts = await made.plan(PAIR, ("a",))
    stand_in.down = BackendUnreachable("gone")
    await made.look()
    reply = await made.dispatch(attempts, prompt())
    assert reply.stand_in is True
    await reply.events.aclose()


@pytest.mark.parametrize(
    "failure",
    [BackendUnreachable("x"), BackendOverloaded("x"), BackendBroken("x"), ValueError("quotes the prompt")],
)
async def test_a_failure_before_the_first_event_tries_the_next_with_the_same_blend(failure: Exception) -> None:
    facts, spare = Facts(), SpeakingBackend()
    made = await fleet(facts, a=SpeakingBackend(fails=failure), b=spare)  # type: ignore[arg-type]
    backend, events = await speak(made)
    assert backend == "b"
    assert events[0] == Delta("core=1.0,physics=0.8 ")
    assert [p.blend for p in spare.prompts] == [PAIR]
    (fact,) = facts.of(BackendAttemptFailed)
    assert (fact.backend, fact.started) == ("a", False)
    assert "quotes the prompt" not in str(fact)
    assert made.idle.is_set()


async def test_an_engine_that_lost_the_blend_meanwhile_is_passed_over() -> None:
    forgetful, spare = SpeakingBackend(), SpeakingBackend()
    made = await fleet(Facts(), a=forgetful, b=spare)
    attempts = await made.plan(PAIR, ("a", "b"))
    forgetful.holds = Inventory(names=frozenset({"core"}))
    reply = await made.dispatch(attempts, prompt())
    assert reply.backend == "b"
    await reply.events.aclose()


async def test_no_retry_where_trying_elsewhere_cannot_help() -> None:
    spare = SpeakingBackend()
    made = await fleet(Facts(), a=SpeakingBackend(fails=BackendRefused("too long")), b=spare)
    with pytest.raises(BackendRefused) as caught:
        await speak(made)
    assert caught.value.backend == "a"
    assert spare.prompts == []


async def test_the_last_failure_is_raised_when_nobody_answers() -> None:
    made = await fleet(
        Facts(), a=SpeakingBackend(fails=BackendBroken("x")), b=SpeakingBackend(fails=BackendOverloaded("full"))
    )
    with pytest.raises(BackendOverloaded) as caught:
        await speak(made)
    assert caught.value.backend == "b"
    assert made.idle.is_set()


class Odd(SpeakingBackend):
    """A driver with mistakes: `mistake` says which."""

    def __init__(self, mistake: str) -> None:
        super().__init__()
        self.mistake = mistake
        self.closings = 0

    def stream(self, prompt: Prompt) -> AsyncIterator[Event]:
        if self.mistake == "raises at once":
            raise TypeError("secret prompt")
        return _OddStream(self)


class _OddStream:
    def __init__(self, backend: Odd) -> None:
        self.backend = backend
        self.events: Iterator[Event] = iter([Delta("a"), Finish("stop"), Usage(1, 1)])

    def __aiter__(self) -> _OddStream:
        return self

    async def __anext__(self) -> Event:
        if self.backend.mistake == "is empty":
            raise StopAsyncIteration
        event = next(self.events, None)
        if event is None:
            raise StopAsyncIteration
        if self.backend.mistake == "breaks in the middle" and isinstance(event, Finish):
            raise KeyError("secret prompt")
        return event

    async def aclose(self) -> None:
        self.backend.closings += 1
        if self.backend.mistake == "cannot close":
            raise RuntimeError("secret prompt")


@pytest.mark.parametrize("mistake", ["raises at once", "is empty"])
async def test_a_driver_that_yields_nothing_is_a_broken_backend(mistake: str) -> None:
    made = await fleet(Facts(), a=Odd(mistake))
    with pytest.raises(BackendBroken) as caught:
        await speak(made)
    assert caught.value.backend == "a"
    assert "secret" not in caught.value.message
    assert made.idle.is_set()


async def test_a_driver_that_breaks_in_the_middle_is_told_as_a_broken_backend() -> None:
    facts, odd = Facts(), Odd("breaks in the middle")
    made = await fleet(facts, a=odd, b=SpeakingBackend())
    with pytest.raises(BackendBroken, match=r"KeyError at test_fleet\.py"):
        await speak(made)
    assert odd.closings == 1
    assert made.idle.is_set()
    (fact,) = facts.of(BackendAttemptFailed)
    assert (fact.backend, fact.started) == ("a", True)
    assert "secret" not in str(fact)


async def test_a_source_that_cannot_close_changes_no_answer() -> None:
    facts, odd = Facts(), Odd("cannot close")
    made = await fleet(facts, a=odd)
    assert (await speak(made))[1][-1] == Usage(1, 1)
    assert len(facts.of(BackendAnswered)) == 1
    reply = await made.dispatch(await made.plan(PAIR, ("a",)), prompt())
    await reply.events.aclose()
    await reply.events.aclose()
    assert odd.closings == 2
    assert len(facts.of(Abandoned)) == 1
    assert made.idle.is_set()


async def test_leaving_before_the_first_event_closes_the_source() -> None:
    facts, engine = Facts(), SpeakingBackend(hangs_after=0)
    made = await fleet(facts, a=engine)
    asking = asyncio.create_task(speak(made))
    await until(lambda: engine.open_streams == 1)
    assert not made.idle.is_set()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert engine.open_streams == 0
    assert made.idle.is_set()
    assert len(facts.of(Abandoned)) == 1


@pytest.mark.parametrize("wrong", [RuntimeError("no idea"), KeyError("x"), OSError(5, "io"), TimeoutError()])
async def test_whatever_an_inventory_raises_is_a_backend_that_is_down(wrong: Exception) -> None:
    engine = SpeakingBackend(down=wrong)  # type: ignore[arg-type]
    made = await fleet(Facts(), a=engine, b=SpeakingBackend())
    assert set(made.inventories) == {"b"}
    assert made.troubles["a"].startswith("a: ")
    engine.down = None
    await made.look()
    assert set(made.inventories) == {"a", "b"}
    assert made.troubles == {}


async def test_an_inventory_that_never_answers_does_not_stop_the_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.fleet.LOOK_SECONDS", 0.05)
    made = await fleet(Facts(), a=_Slow(), b=SpeakingBackend())
    assert set(made.inventories) == {"b"}
    assert "no answer within" in made.troubles["a"]


class _Slow(SpeakingBackend):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.answer = asyncio.Event()

    async def inventory(self) -> Inventory:
        self.asked += 1
        await self.answer.wait()
        return self.holds


async def test_a_thousand_requests_for_a_dead_engine_ask_it_once() -> None:
    slow = _Slow()
    made = Fleet({"a": slow}, Facts().record)
    plans = [asyncio.create_task(made.plan(PAIR, ("a",))) for _ in range(1000)]
    await until(lambda: slow.asked == 1)
    plans[0].cancel()  # whoever leaves takes nothing from the others
    await asyncio.sleep(0)
    slow.answer.set()
    done = await asyncio.gather(*plans, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert all(isinstance(plan, Plan) and plan.attempts == ("a",) for plan in done[1:])
    assert slow.asked == 1


async def test_closing_gives_up_looking_and_closes_all_but_what_is_kept() -> None:
    slow, kept, closed = _Slow(), SpeakingBackend(), SpeakingBackend()
    made = Fleet({"slow": slow, "kept": kept, "closed": closed}, Facts().record)
    looking = asyncio.create_task(made.look())
    await until(lambda: slow.asked == 1)
    await made.aclose(keep={"other name": kept})
    await asyncio.wait_for(looking, 10)
    assert (slow.closed, kept.closed, closed.closed) == (True, False, True)


async def test_a_backend_that_fails_again_and_again_is_asked_after_the_others_but_before_a_stand_in() -> None:
    now = 0.0
    hangs, spare, stand_in = SpeakingBackend(), SpeakingBackend(), SpeakingBackend(holds=STAND_IN)
    facts = Facts()
    first = Replicas("a", {"a": hangs}, clock=lambda: now)
    made = Fleet({"s": stand_in, "a": first, "b": spare}, facts.record)
    await made.look()
    assert (await made.plan(PAIR, ("s", "a", "b"))).attempts == ("a", "b", "s")
    hangs.fails = BackendTimeout("no first token")
    for _ in range(3):
        assert (await speak(made))[0] == "b"
    assert len(hangs.prompts) == 3
    assert (await made.plan(PAIR, ("s", "a", "b"))).attempts == ("b", "a", "s")
    assert (await made.plan(PAIR, ("a", "s"))).attempts == ("a", "s")
    assert (await speak(made))[0] == "b"
    assert len(hangs.prompts) == 3  # nobody waited for it
    now += 5.0
    assert (await speak(made))[0] == "b"
    assert len(hangs.prompts) == 4  # one request tried it, in vain: twice the pause
    now += 5.0
    assert (await made.plan(PAIR, ("a", "b"))).attempts == ("b", "a")
    now += 5.0
    hangs.fails = None
    assert (await speak(made))[0] == "a"
    assert (await made.plan(PAIR, ("a", "b"))).attempts == ("a", "b")
