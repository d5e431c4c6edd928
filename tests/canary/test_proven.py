"""The backend that serves only what was proved, on TGI's driver and wire, in front of an engine that computes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import router.canary.proven as proven_module
from router.backends.tgi import TgiBackend
from router.canary.findings import Limits, Line
from router.canary.proven import Manner, Proven
from router.core.blend import Blend
from router.core.conversation import Message
from router.core.errors import BackendUnreachable, BlendUnavailable
from router.core.facts import CanaryFinished
from router.core.reply import Delta, Inventory, Probe, Prompt, Token
from tests.backends.tiny_engine import TinyEngine
from tests.backends.tiny_tgi import TinyTgi
from tests.canary.cast import ACADEMIC, BASE, BLENDS, CORE, PHYSICS, QUICK, SOURCES, SPORT, Cast
from tests.stubs import Facts, until

ONCE = Manner(every=None, limits=replace(QUICK, tokens=6))


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests share their cores with others: a first look may wait as long as the proof takes."""
    monkeypatch.setattr(proven_module, "PATIENCE", 120.0)


def prompt(blend: Blend) -> Prompt:
    return Prompt(blend, (Message("user", "Why is the sky blue?"),), {"max_tokens": 4, "temperature": 0})


@dataclass
class Live:
    """A proven backend, the engine behind it, and the facts it reported."""

    backend: Proven
    tgi: TinyTgi
    facts: Facts = field(default_factory=Facts)

    async def answered(self, blend: Blend) -> str:
        return "".join(
            [event.content async for event in self.backend.stream(prompt(blend)) if isinstance(event, Delta)]
        )


@asynccontextmanager
async def live(
    engine: TinyEngine,
    *,
    names: Sequence[str] = (),
    manner: Manner = ONCE,
    blends: Sequence[Blend] = BLENDS,
    reference: Mapping[str, Sequence[Line]] | None = None,
) -> AsyncIterator[Live]:
    """Serve `engine`; the router was told `names`, by default what the engine was launched with."""
    async with TinyTgi(engine) as tgi:
        driver = TgiBackend("primary", tgi.url, names or [blend.id for blend in BLENDS])
        stage = Live(Proven("primary", driver, manner, reference), tgi)
        stage.backend.look_after({blend: blend.members for blend in blends}, stage.facts.record)
        yield stage
        await stage.backend.aclose()


async def test_a_healthy_engine_is_served_after_its_proof_and_not_before(cast: Cast) -> None:
    async with live(TinyEngine(cast.blends)) as stage:
        with pytest.raises(BlendUnavailable):
            await stage.answered(CORE)
        assert stage.tgi.asked == []
        found = await stage.backend.inventory()
        assert found.withdrawn == {}
        assert all(found.serves(blend) for blend in BLENDS)
        assert stage.tgi.chats == []
        (fact,) = stage.facts.of(CanaryFinished)
        assert (fact.backend, fact.proven, fact.failed, fact.trouble) == ("primary", 4, {}, None)
        assert fact.calls == len(stage.tgi.asked)
        assert {adapter for _, adapter in stage.tgi.asked} == {None, *(blend.id for blend in BLENDS)}
        assert len(await stage.answered(PHYSICS)) == 4
        assert stage.tgi.chats == [PHYSICS.id]


@pytest.mark.parametrize(
    ("fault", "withdrawn"),
    [
        ("not launched with it", {PHYSICS.id}),
        ("cuda graphs", {blend.id for blend in BLENDS}),
        ("shared prefix cache", {blend.id for blend in BLENDS}),
        ("padded rank", {SPORT.id}),
    ],
)
async def test_each_fault_withdraws_what_it_touches_and_the_engine_is_not_asked(
    cast: Cast, fault: str, withdrawn: set[str]
) -> None:
    folders = dict(cast.blends)
    if fault == "not launched with it":
        del folders[PHYSICS.id]
    if fault == "padded rank":
        folders[SPORT.id] = cast.raw["sport"]  # r = 12, straight from training
    sport = Blend.of(BASE, {"sport": 1.0}, SOURCES)
    blends = [replace(SPORT, members=sport.members) if blend is SPORT else blend for blend in BLENDS]
    engine = TinyEngine(
        folders,
        cuda_graphs=fault == "cuda graphs",
        prefix_cache="tokens" if fault == "shared prefix cache" else "",
    )
    reference = cast.reference(*blends) if fault == "padded rank" else None
    async with live(engine, reference=reference, blends=blends) as stage:
        found = await stage.backend.inventory()
        assert set(found.withdrawn) == withdrawn
        for blend in blends:
            assert found.serves(blend) == (blend.id not in withdrawn)
            if blend.id in withdrawn:
                with pytest.raises(BlendUnavailable, match="the canary: "):
                    await stage.answered(blend)
        assert stage.tgi.chats == []
        (fact,) = stage.facts.of(CanaryFinished)
        assert set(fact.failed) == withdrawn


async def test_what_takes_long_is_being_proved_and_served_when_it_is(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proven_module, "PATIENCE", 0.1)
    async with live(TinyEngine(cast.blends)) as stage:
        stage.tgi.held.clear()
        found = await stage.backend.inventory()
        assert found.withdrawn == {blend.id: "being proved" for blend in BLENDS}
        with pytest.raises(BlendUnavailable, match="being proved"):
            await stage.answered(CORE)
        started = asyncio.get_running_loop().time()
        await stage.backend.inventory()
        assert asyncio.get_running_loop().time() - started < 0.09  # only the first look waits
        stage.tgi.held.set()
        await until(lambda: stage.facts.of(CanaryFinished))
        assert (await stage.backend.inventory()).withdrawn == {}


async def test_an_engine_that_was_away_proves_itself_again(cast: Cast) -> None:
    """It may come back with other flags: here it comes back with CUDA graphs."""
    async with live(TinyEngine(cast.blends)) as stage:
        assert (await stage.backend.inventory()).withdrawn == {}
        stage.tgi.healthy = False
        with pytest.raises(BackendUnreachable):
            await stage.backend.inventory()
        with pytest.raises(BlendUnavailable, match="does not answer"):
            await stage.answered(CORE)
        stage.tgi.healthy = True
        stage.tgi.engine.cuda_graphs = True
        found = await stage.backend.inventory()
        assert set(found.withdrawn) == {blend.id for blend in BLENDS}
        assert "later tokens" in found.withdrawn[CORE.id]
        assert len(stage.facts.of(CanaryFinished)) == 2


async def test_an_engine_that_goes_away_in_the_middle_of_its_proof_has_proved_nothing(cast: Cast) -> None:
    async with live(TinyEngine(cast.blends)) as stage:
        stage.tgi.held.clear()
        looking = asyncio.create_task(stage.backend.inventory())
        await until(lambda: stage.tgi.asked)
        stage.tgi.healthy = False
        with pytest.raises(BackendUnreachable):
            await stage.backend.inventory()
        stage.tgi.held.set()
        stage.tgi.healthy = True
        assert set((await looking).withdrawn) == {blend.id for blend in BLENDS}
        assert stage.facts.of(CanaryFinished) == []
        first = len(stage.tgi.asked)
        await stage.backend.inventory()
        await until(lambda: stage.facts.of(CanaryFinished), 30)
        assert len(stage.tgi.asked) >= first + 40  # a second, whole round
        assert (await stage.backend.inventory()).withdrawn == {}


async def test_it_is_proved_again_and_again_and_recovers(cast: Cast) -> None:
    async with live(TinyEngine(cast.blends), manner=replace(ONCE, every=0.05)) as stage:
        assert (await stage.backend.inventory()).withdrawn == {}
        stage.tgi.engine.cuda_graphs = True
        await until(lambda: stage.facts.of(CanaryFinished)[-1].failed, 30)
        with pytest.raises(BlendUnavailable, match="later tokens"):  # at once, not at the next look
            await stage.answered(CORE)
        stage.tgi.engine.cuda_graphs = False
        await until(lambda: not stage.facts.of(CanaryFinished)[-1].failed, 30)
        assert len(await stage.answered(CORE)) == 4


async def test_a_new_policy_s_blends_are_proved_and_the_old_verdicts_stay(cast: Cast) -> None:
    async with live(TinyEngine(cast.blends), blends=[CORE, ACADEMIC]) as stage:
        await stage.backend.inventory()
        assert (await stage.backend.inventory()).withdrawn == {}
        stage.tgi.asked.clear()
        stage.backend.look_after(dict.fromkeys([CORE, ACADEMIC, PHYSICS]), stage.facts.record)
        assert (await stage.backend.inventory()).withdrawn == {}
        assert {adapter for _, adapter in stage.tgi.asked} == {None, PHYSICS.id, CORE.id}  # a witness for mixing
        assert len(await stage.answered(PHYSICS)) == 4


async def test_a_trouble_is_no_verdict_and_is_tried_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proven_module, "_FIRST_RETRY", 0.2)
    monkeypatch.setattr("router.canary.proof._AGAIN", (0.01,))
    async with live(TinyEngine(cast.blends)) as stage:
        stage.tgi.full = 2  # one more than it is asked again
        found = await stage.backend.inventory()
        assert set(found.withdrawn) == {blend.id for blend in BLENDS}
        assert found.withdrawn[CORE.id].startswith("not proved yet: ")
        assert "overloaded" in found.withdrawn[CORE.id]
        (fact,) = stage.facts.of(CanaryFinished)
        assert fact.trouble is not None
        assert fact.failed == {}
        await until(lambda: len(stage.facts.of(CanaryFinished)) == 2)
        assert (await stage.backend.inventory()).withdrawn == {}


async def test_a_full_engine_is_asked_again_a_little_later(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.canary.proof._AGAIN", (0.01, 0.01))
    async with live(TinyEngine(cast.blends)) as stage:
        stage.tgi.full = 2
        assert (await stage.backend.inventory()).withdrawn == {}
        assert stage.facts.of(CanaryFinished)[0].trouble is None


async def test_what_the_policy_does_not_name_is_not_served(cast: Cast) -> None:
    async with live(TinyEngine(cast.blends), blends=[CORE]) as stage:
        await stage.backend.inventory()
        assert len(await stage.answered(CORE)) == 4
        with pytest.raises(BlendUnavailable):
            await stage.answered(PHYSICS)
        assert stage.tgi.chats == [CORE.id]


@dataclass
class Renaming:
    """An engine whose names can be changed, as when a retrained blend is loaded at run time."""

    engine: TinyEngine
    names: dict[str, str]
    probes: list[Probe] = field(default_factory=list)

    async def inventory(self) -> Inventory:
        return Inventory(published=dict(self.names))

    async def probe(self, probe: Probe) -> Sequence[Token]:
        self.probes.append(probe)
        name = None if probe.blend is None else self.names[probe.blend.id]
        return [
            Token(chr(chosen), float(logprobs[chosen]), {chr(at): float(logprobs[at]) for at in range(32, 127)})
            for chosen, logprobs in self.engine.generate(probe.text, name, probe.tokens, cold=probe.cold)
        ]

    async def stream(self, prompt: Prompt) -> AsyncIterator[Delta]:
        yield Delta(self.names[prompt.blend.id])

    async def aclose(self) -> None:
        pass


async def test_a_blend_under_a_new_name_is_proved_again(cast: Cast) -> None:
    folders = {"core-1": cast.blends[CORE.id], "academic-1": cast.blends[ACADEMIC.id]}
    engine = Renaming(TinyEngine(folders), {CORE.id: "core-1", ACADEMIC.id: "academic-1"})
    backend = Proven("primary", engine, ONCE)
    backend.look_after(dict.fromkeys([CORE, ACADEMIC]), lambda fact: None)
    assert (await backend.inventory()).withdrawn == {}
    engine.probes.clear()
    engine.names[CORE.id] = "core-2"  # a name that the engine does not know
    assert set((await backend.inventory()).withdrawn) == {CORE.id}
    assert {probe.blend for probe in engine.probes} == {None, CORE, ACADEMIC}  # a witness for mixing
    await backend.aclose()


async def test_a_blend_that_was_unloaded_and_loaded_is_proved_again(cast: Cast) -> None:
    folders = {"core-1": cast.blends[CORE.id], "academic-1": cast.blends[ACADEMIC.id]}
    names = {CORE.id: "core-1", ACADEMIC.id: "academic-1"}
    engine = Renaming(TinyEngine(folders), dict(names))
    backend = Proven("primary", engine, ONCE)
    backend.look_after(dict.fromkeys([CORE, ACADEMIC]), lambda fact: None)
    assert (await backend.inventory()).withdrawn == {}
    del engine.names[CORE.id]
    assert CORE.id not in (await backend.inventory()).published
    engine.names[CORE.id] = "core-1"
    engine.engine = TinyEngine(folders | {"core-1": folders["academic-1"]})  # loaded again, from a wrong folder
    assert CORE.id in (await backend.inventory()).withdrawn
    await backend.aclose()


async def test_a_large_closure_is_proved_in_parts_and_told_apart_across_them(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proven_module, "PART", 2)
    double = Blend.of(BASE, {"sport": 0.5}, SOURCES)
    served = {blend.id: blend.id for blend in BLENDS} | {
        double.id: CORE.id
    }  # the last one is the first one's double
    engine = Renaming(TinyEngine(cast.blends), served)
    facts = Facts()
    backend = Proven("primary", engine, replace(ONCE, every=0.05))
    backend.look_after(dict.fromkeys([*BLENDS, double]), facts.record)
    assert set((await backend.inventory()).withdrawn) == {CORE.id, double.id}
    rounds = facts.of(CanaryFinished)
    assert [fact.proven for fact in rounds[:3]] == [2, 4, 3]
    parts = [fact.calls for fact in rounds[:3]]
    assert max(parts) < 40
    await until(lambda: len(facts.of(CanaryFinished)) >= 6, 30)  # then in turn, part by part
    assert all(fact.calls <= max(parts) for fact in facts.of(CanaryFinished))
    await backend.aclose()


async def test_the_embedded_manner_serves_at_once_and_withdraws_later(cast: Cast) -> None:
    folders = {name: folder for name, folder in cast.blends.items() if name != PHYSICS.id}
    engine = Renaming(TinyEngine(folders), {blend.id: blend.id for blend in BLENDS})
    backend, facts = Proven("embedded:", engine, replace(ONCE, at_once=True, delay=0.05)), Facts()
    backend.look_after(dict.fromkeys(BLENDS), facts.record)
    assert (await backend.inventory()).withdrawn == {}
    answer = backend.stream(prompt(PHYSICS))
    assert await anext(answer) == Delta(PHYSICS.id)
    await asyncio.sleep(0.2)
    assert engine.probes == []  # an answer is under way: the canary does not take its cores
    await answer.aclose()
    await until(lambda: facts.of(CanaryFinished), 30)
    assert set((await backend.inventory()).withdrawn) == {PHYSICS.id}
    await backend.aclose()


def test_the_limits_are_those_of_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    limits = Limits()
    for figure in (limits.same, limits.stray, limits.scale):
        assert f"{figure:g}" in text
