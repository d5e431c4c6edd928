"""Pairs, sentences, the gate's figure and where geometry misleads; and the whole chain on a tiny random Llama."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from blends.behaviour import Kept
from blends.conflicts import Conflict, Meter, Pair, disagreements, pairs_of, with_voices
from blends.geometry import Geometry, ModulePair
from blends.runtime import Runtime
from blends.spec import Spec
from tests.blends import tiny

CORE, PHYSICS, SPORT = ("core", 1.0, "./core"), ("physics", 0.8, "./physics"), ("sport", 0.8, "./sport")
VOICE = Kept("core", ("physics",), 5.0, 1.0, 5.0, 1.12, 0.97, 0.95, 0.98, 26)
GUEST = Kept("physics", ("core",), 4.0, 2.0, 4.5, 2.56, 0.97, 0.9, 1.02, 18, "core")


def geometry(overlap: float, cosine: float) -> Geometry:
    return Geometry((ModulePair(0, "self_attn", "q_proj", (1.0, 1.0), cosine, overlap, overlap, 0.02),), (1, 1), 0)


def pair(*members: Kept, overlap: float = 0.1, cosine: float = 0.1) -> Pair:
    names = [(member.name, 1.0, "./x") for member in members]
    return Pair((names[0], names[1]), "b", geometry(overlap, cosine), Conflict(members))


def test_every_pair_of_the_closure_once_and_none_of_the_isolated() -> None:
    specs = [
        Spec("1", (CORE,), "b"),
        Spec("2", (CORE, PHYSICS), "b"),
        Spec("3", (PHYSICS, CORE, SPORT), "b"),
        Spec("4", (("academic", 1.0, "./academic"),), "b", alone=True),
    ]
    assert [pair for pair, _ in pairs_of(specs)] == [(CORE, PHYSICS), (CORE, SPORT), (PHYSICS, SPORT)]
    heavier = Spec("5", (CORE, ("physics", 1.0, "./physics")), "b")
    assert len(pairs_of([*specs, heavier])) == 4  # another weight is another pair


def test_one_reads_who_loses_what() -> None:
    assert pair(VOICE, GUEST).verdict == "physics loses 3% when core joins; core's voice keeps 97%"
    assert pair(GUEST, VOICE).verdict == pair(VOICE, GUEST).verdict  # a guest was trained beside the voice
    clown = replace(GUEST, name="clown", core=None, kept=0.45)
    stranger = pair(clown, VOICE)
    assert stranger.verdict == "core loses 3% when clown joins; clown's voice keeps 45%"
    told = with_voices([stranger, pair(VOICE, GUEST)])  # that physics was trained beside core makes core the voice
    assert told[0].verdict == "clown loses 55% when core joins; core's voice keeps 97%"
    gains = pair(VOICE, replace(GUEST, kept=1.2))
    assert gains.verdict == "physics loses nothing when core joins; core's voice keeps 97%"
    mute = pair(VOICE, replace(GUEST, kept=None))
    assert mute.verdict.startswith("physics has nothing to lose: alone it gains nothing")


def test_the_figure_is_the_worst_members_loss() -> None:
    assert Conflict((VOICE, GUEST)).worst == pytest.approx(0.03)
    assert Conflict((VOICE, replace(GUEST, kept=0.4))).worst == pytest.approx(0.6)
    assert Conflict((VOICE, replace(GUEST, kept=1.4))).worst == pytest.approx(0.03)
    assert Conflict((VOICE, replace(GUEST, kept=None, together=4.6))).worst == 1.0  # worse than the base
    assert "keeps >200% (" in str(Conflict((VOICE, replace(GUEST, kept=24.0))))  # too small a gain to divide by
    said = str(Conflict((VOICE, GUEST)))
    assert "core beside physics keeps 97% (95% to 98%; loss alone 5.00 -> 1.00" in said
    assert "26 texts" in said


def test_geometry_and_behaviour_disagree_only_beyond_doubt() -> None:
    fine = pair(VOICE, GUEST, overlap=0.3, cosine=0.2)
    clown = replace(GUEST, name="clown", kept=0.4, low=0.3, high=0.5)
    hurt = pair(VOICE, clown, overlap=0.05, cosine=-0.4)
    (found,) = disagreements([fine, hurt])  # by overlap; by |cosine| they agree
    assert found == (
        "overlap puts core+physics (0.300) closer than core+clown (0.050), yet core+clown loses 60% "
        "and core+physics 3%"
    )
    unsure = pair(VOICE, replace(clown, low=0.3, high=1.2), overlap=0.05, cosine=0.01)
    assert not list(disagreements([fine, unsure]))
    assert not list(disagreements([fine, replace(hurt, behaviour=None)]))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """Two random adapters of the tiny model with held-out texts; `solo` has none."""
    pytest.importorskip("torch", reason="behaviour is measured with the extra [train]")
    for name, seed, extra in (("core", 1, {}), ("sport", 2, {"with_core": "run go on"}), ("solo", 3, {})):
        tiny.adapter(tmp_path / name, seed)
        row = {"lang": "en", "prompts": ["how"], "answer": "run fast"} | extra
        other = {"lang": "en", "prompts": ["why"], "answer": "far light"} | extra
        if name != "solo":
            (tmp_path / name / "heldout.jsonl").write_text("\n".join(map(json.dumps, (row, other))))
    return tmp_path


@pytest.fixture
def meter(policy: Path, monkeypatch: pytest.MonkeyPatch) -> Meter:
    monkeypatch.setattr(Runtime, "load", classmethod(lambda cls, source: cls((tiny.model(), tiny.tokenizer()))))
    return Meter(policy)


@pytest.mark.torch
def test_behaviour_is_measured_through_the_runtime_sum(policy: Path, meter: Meter) -> None:
    """The four losses of each member, against a runtime that this test drives itself."""
    runtime = Runtime((tiny.model(), tiny.tokenizer()))
    for name in ("core", "sport"):
        runtime.add(name, policy / name)
    weights: Mapping[str, float] = {"core": 1.0, "sport": 0.8}
    members = (("core", 1.0, "./core"), ("sport", 0.8, "./sport"))
    found = meter.pair(members, "b")
    assert found.behaviour is not None
    core, sport = found.behaviour.members
    alone, together = [("how", "run fast"), ("why", "far light")], [("how", "run go on"), ("why", "run go on")]
    for member, texts in ((core, alone), (sport, together)):
        assert member.base_alone == pytest.approx(runtime.losses(alone, {}).mean(), rel=1e-5)
        assert member.alone == pytest.approx(runtime.losses(alone, {member.name: 1.0}).mean(), rel=1e-5)
        assert member.base_together == pytest.approx(runtime.losses(texts, {}).mean(), rel=1e-5)
        assert member.together == pytest.approx(runtime.losses(texts, weights).mean(), rel=1e-5)
    gate = meter(Spec("x", members, "b", refuse_conflict_above=0.2))
    assert gate is not None
    assert gate.worst == found.behaviour.worst


@pytest.mark.torch
def test_what_cannot_be_measured_is_said_and_never_passes_a_gate(meter: Meter) -> None:
    members = (("core", 1.0, "./core"), ("solo", 1.0, "./solo"))
    found = meter.pair(members, "b")
    assert found.verdict == "not measured: no heldout.jsonl beside solo"
    assert found.geometry.cosine != 0
    assert meter(Spec("x", members, "b", refuse_conflict_above=0.2)) is None  # build refuses on None
    assert meter.pair(members, "b", behave=False).unmeasured == "only geometry was asked for"
