"""Several engines as one backend: who is asked, who is left alone for how long, and what they hold together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.core.affinity import LEAST, ranked
from router.core.blend import Blend
from router.core.conversation import Message
from router.core.errors import (
    BackendBroken,
    BackendFailed,
    BackendOverloaded,
    BackendRefused,
    BackendUnreachable,
    BlendUnavailable,
)
from router.core.facts import BackendAttemptFailed, ReplicaEjected
from router.core.reply import Delta, Finish, Inventory, Prompt
from router.replicas import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, Replicas
from tests.stubs import Facts, SpeakingBackend

SOURCES = {name: f"./{name}" for name in ("core", "physics", "sport")}
CORE = Blend.of("base", {"core": 1.0}, SOURCES)
PAIR = Blend.of("base", {"core": 1.0, "physics": 0.8}, SOURCES)
OTHER = Blend.of("base", {"core": 1.0, "sport": 0.8}, SOURCES)
LOST = BackendUnreachable("no route to engine")


def held(*blends: Blend, **withdrawn: str) -> Inventory:
    return Inventory(published={blend.id: blend.id for blend in blends}, withdrawn=withdrawn)


@dataclass
class Trio:
    """Three stub engines behind one name, a clock to turn, and the facts that came out."""

    engines: dict[str, SpeakingBackend]
    now: float = 1000.0
    facts: Facts = field(default_factory=Facts)

    def __post_init__(self) -> None:
        self.replicas = Replicas("primary", self.engines, clock=lambda: self.now)
        self.replicas.look_after(dict.fromkeys((CORE, PAIR, OTHER)), self.facts.record)

    def first(self, blend: Blend = PAIR) -> str:
        return ranked(blend.id, self.engines)[0]

    async def ask(self, blend: Blend = PAIR) -> str:
        """Return the name of the replica that answered."""
        before = {name: len(engine.prompts) for name, engine in self.engines.items()}
        events = [event async for event in self.replicas.stream(Prompt(blend, (Message("user", "sky"),)))]
        assert any(isinstance(event, Finish) for event in events)
        asked = [name for name, engine in self.engines.items() if len(engine.prompts) > before[name]]
        return next(name for name in reversed(ranked(blend.id, asked)))


async def trio(inventories: Mapping[str, Inventory] | None = None) -> Trio:
    names = ("h1:80", "h2:80", "h3:80")
    stage = Trio({name: SpeakingBackend(held(CORE, PAIR, OTHER)) for name in names})
    for name, inventory in (inventories or {}).items():
        stage.engines[name].holds = inventory
    await stage.replicas.inventory()
    return stage


async def test_a_blend_goes_to_its_own_replica_every_time() -> None:
    stage = await trio()
    assert {await stage.ask() for _ in range(20)} == {stage.first()}
    assert {await stage.ask(OTHER) for _ in range(20)} == {stage.first(OTHER)}


async def test_the_others_blends_stay_when_one_goes_down() -> None:
    stage = await trio()
    before = {blend: await stage.ask(blend) for blend in (CORE, PAIR, OTHER)}
    gone = stage.first(CORE)
    stage.engines[gone].down = LOST
    await stage.replicas.inventory()
    for blend, name in before.items():
        assert await stage.ask(blend) == (name if name != gone else ranked(blend.id, stage.engines)[1])


async def test_only_those_that_hold_the_blend_are_asked() -> None:
    stage = await trio({"h1:80": held(CORE), "h2:80": held(CORE, OTHER), "h3:80": held(CORE, PAIR)})
    assert {await stage.ask(PAIR) for _ in range(5)} == {"h3:80"}
    stage.engines["h3:80"].holds = held(CORE, PAIR, **{PAIR.id: "acts like the base"})
    await stage.replicas.inventory()
    prompts = [len(engine.prompts) for engine in stage.engines.values()]
    with pytest.raises(BlendUnavailable, match="h3:80: acts like the base"):
        await stage.ask(PAIR)
    assert prompts == [len(engine.prompts) for engine in stage.engines.values()]


async def test_a_replica_with_its_share_passes_to_the_next() -> None:
    stage = await trio()
    for engine in stage.engines.values():
        engine.hangs_after = 1
    prompt = Prompt(PAIR, (Message("user", "sky"),))
    streams = [stage.replicas.stream(prompt) for _ in range(LEAST + 1)]
    for stream in streams:
        await anext(stream)
    one, two, three = ranked(PAIR.id, stage.engines)
    assert [len(stage.engines[name].prompts) for name in (one, two, three)] == [LEAST, 1, 0]
    assert [stage.replicas.states()[name]["streams"] for name in (one, two, three)] == [LEAST, 1, 0]
    for stream in streams:
        await stream.aclose()
    assert [engine.open_streams for engine in stage.engines.values()] == [0, 0, 0]
    assert {state["streams"] for state in stage.replicas.states().values()} == {0}


@pytest.mark.parametrize("error", [LOST, BackendBroken("crashed"), BackendOverloaded("full"), RuntimeError("bug")])
async def test_a_failure_before_the_first_event_moves_on(error: Exception) -> None:
    stage = await trio()
    one, two, _ = ranked(PAIR.id, stage.engines)
    stage.engines[one].fails = error  # type: ignore[assignment]
    assert await stage.ask() == two
    assert [prompt.blend for prompt in stage.engines[two].prompts] == [PAIR]  # the same blend
    (fact,) = stage.facts.of(BackendAttemptFailed)
    assert (fact.backend, fact.started) == (one, False)


async def test_a_failure_moves_on_when_nobody_listens_to_facts() -> None:
    stage = await trio()
    stage.replicas = Replicas("primary", stage.engines)
    await stage.replicas.inventory()
    one, two, _ = ranked(PAIR.id, stage.engines)
    stage.engines[one].fails = LOST
    assert [await stage.ask() for _ in range(4)] == [two] * 4  # ejected after the third


async def test_what_another_would_refuse_as_well_is_not_asked_again() -> None:
    stage = await trio()
    stage.engines[stage.first()].fails = BackendRefused("context too long")
    with pytest.raises(BackendRefused):
        await stage.ask()
    assert sum(len(engine.prompts) for engine in stage.engines.values()) == 1


async def test_after_the_first_event_nothing_is_retried() -> None:
    stage = await trio()
    engine = stage.engines[stage.first()]
    engine.fails, engine.fails_after = BackendBroken("crashed"), 1
    stream = stage.replicas.stream(Prompt(PAIR, (Message("user", "sky"),)))
    assert isinstance(await anext(stream), Delta)
    with pytest.raises(BackendBroken):
        await anext(stream)
    assert sum(len(engine.prompts) for engine in stage.engines.values()) == 1
    assert stage.facts.seen == []  # whoever reads the stream reports it


async def test_an_engine_that_is_full_is_not_ill() -> None:
    stage = await trio()
    stage.engines[stage.first()].fails = BackendOverloaded("full")
    for _ in range(FAILURES + 2):
        await stage.ask()
    assert stage.replicas.states()[stage.first()]["state"] == "up"
    assert len(stage.engines[stage.first()].prompts) == FAILURES + 2


async def test_ejection_pauses_twice_as_long_each_time_and_one_request_tries() -> None:
    stage = await trio()
    ill = stage.engines[stage.first()]
    ill.fails = BackendBroken("crashed")
    for _ in range(FAILURES + 5):
        await stage.ask()
    assert len(ill.prompts) == FAILURES
    pauses = []
    for _ in range(7):
        pause = float(stage.facts.of(ReplicaEjected)[-1].seconds)
        pauses.append(pause)
        asked = len(ill.prompts)
        stage.now += pause - 0.1
        await stage.ask()
        assert len(ill.prompts) == asked  # not yet
        stage.now += 0.2
        await stage.ask()
        await stage.ask()
        assert len(ill.prompts) == asked + 1  # tried once, and left alone again
    assert pauses == [FIRST_PAUSE * factor for factor in (1, 2, 4, 8, 16)] + [LONGEST_PAUSE, LONGEST_PAUSE]
    assert str(stage.replicas.states()[stage.first()]["state"]).startswith("ejected for 120 s: crashed")
    ill.fails = None
    stage.now += LONGEST_PAUSE
    assert await stage.ask() == stage.first()
    assert stage.facts.of(ReplicaEjected)[-1] == ReplicaEjected("primary", stage.first(), 0.0, "")
    assert stage.replicas.states()[stage.first()]["state"] == "up"


async def test_while_one_request_tries_the_others_wait_for_its_outcome() -> None:
    stage = await trio()
    ill = stage.engines[stage.first()]
    ill.fails = BackendBroken("crashed")
    for _ in range(FAILURES):
        await stage.ask()
    ill.fails, ill.hangs_after = None, 0
    stage.now += FIRST_PAUSE
    trial = asyncio.ensure_future(anext(stage.replicas.stream(Prompt(PAIR, (Message("user", "sky"),)))))
    await asyncio.sleep(0.01)
    assert len(ill.prompts) == FAILURES + 1
    assert await stage.ask() != stage.first()
    trial.cancel()
    await asyncio.gather(trial, return_exceptions=True)
    assert ill.open_streams == 0


async def test_failures_that_are_not_in_a_row_eject_nobody() -> None:
    stage = await trio()
    engine = stage.engines[stage.first()]
    for _ in range(FAILURES * 2):
        engine.fails = BackendBroken("crashed")
        await stage.ask()
        engine.fails = None
        await stage.ask()
    assert stage.replicas.states()[stage.first()]["state"] == "up"


async def test_when_all_are_ejected_they_are_tried_all_the_same() -> None:
    stage = await trio()
    for engine in stage.engines.values():
        engine.fails = BackendBroken("crashed")
    for _ in range(FAILURES):
        with pytest.raises(BackendBroken):
            await stage.ask()
    assert all("ejected" in str(state["state"]) for state in stage.replicas.states().values())
    for engine in stage.engines.values():
        engine.fails = None
    assert await stage.ask() == stage.first()


async def test_a_single_engine_is_never_left_alone_and_says_what_it_says() -> None:
    engine, facts = SpeakingBackend(fails=BackendBroken("crashed")), Facts()
    alone = Replicas("primary", {"primary": engine})
    alone.look_after({PAIR: None}, facts.record)
    assert await alone.inventory() is engine.holds
    for _ in range(FAILURES * 2):
        with pytest.raises(BackendBroken, match="crashed"):
            await anext(alone.stream(Prompt(PAIR, (Message("user", "sky"),))))
    assert len(engine.prompts) == FAILURES * 2
    assert facts.seen == []  # the fleet reports the attempt; a second line would count it twice
    engine.down = LOST
    with pytest.raises(BackendUnreachable, match="no route to engine"):
        await alone.inventory()
    await alone.aclose()
    assert engine.closed


async def test_down_is_only_who_does_not_answer() -> None:
    stage = await trio()
    stage.engines["h1:80"].down = LOST
    assert set((await stage.replicas.inventory()).published) == {CORE.id, PAIR.id, OTHER.id}
    assert stage.replicas.states()["h1:80"]["state"] == "no route to engine"
    for engine in stage.engines.values():
        engine.down = LOST
    with pytest.raises(BackendUnreachable, match="no replica answers: no route to engine; no route"):
        await stage.replicas.inventory()


def test_no_replica_is_no_backend() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Replicas("primary", {})


ALL = [CORE, PAIR, OTHER]
ANY_INVENTORY = st.builds(
    lambda names, sums, published, withdrawn: Inventory(
        names=frozenset(names),
        sums=frozenset(sums),
        published={blend.id: f"{blend.id}-x" for blend in published},
        withdrawn={blend.id: "why" for blend in withdrawn},
    ),
    st.sets(st.sampled_from(["core", PAIR.id])),
    st.sets(st.sampled_from(["core", "physics", "sport"])),
    st.sets(st.sampled_from(ALL)),
    st.sets(st.sampled_from(ALL)),
)


@settings(deadline=None)
@given(st.lists(ANY_INVENTORY, min_size=2, max_size=4))
def test_together_they_serve_exactly_what_some_one_of_them_serves(inventories: list[Inventory]) -> None:
    async def check() -> None:
        engines = {f"h{number}": SpeakingBackend(inventory) for number, inventory in enumerate(inventories)}
        replicas = Replicas("primary", engines)
        replicas.look_after(dict.fromkeys(ALL), lambda fact: None)
        together = await replicas.inventory()
        for blend in ALL:
            assert together.serves(blend) == any(each.serves(blend) for each in inventories), blend.id
            if together.serves(blend):  # and asking for it reaches one that holds it
                events = replicas.stream(Prompt(blend, (Message("user", "sky"),)))
                assert isinstance(await anext(events), Delta)
                await events.aclose()

    asyncio.run(check())


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(ALL), st.integers(0, 3)), max_size=60))
def test_whatever_fails_a_blend_is_answered_while_one_replica_is_well(script: list[tuple[Blend, int]]) -> None:
    """Two of three fail in turn, whenever they like: no request is lost, and none is answered as another blend."""

    async def check() -> None:
        stage = await trio()
        for blend, ill in script:
            for number, engine in enumerate(stage.engines.values()):
                engine.fails = BackendBroken("crashed") if number != ill % 3 and ill != 3 else None
            stage.now += 1.0
            answered = stage.engines[await stage.ask(blend)]
            assert answered.prompts[-1].blend == blend
            assert isinstance(answered.fails, BackendFailed | None)

    asyncio.run(check())
