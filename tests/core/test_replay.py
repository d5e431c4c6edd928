"""Recorded decisions under another policy: what changes, and that nothing does when the policy is the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.core.decide import decide, decide_chore
from router.core.errors import Contradiction, Forbidden, Refused, UnknownMode
from router.core.facts import Decided
from router.core.policy import Policies
from router.core.recorded import Recorded, fields_of, read_fields
from router.core.replay import Answer, Change, Refusal, Replay
from router.core.scores import Scores
from router.core.tally import Tally
from router.policy_file import resolve
from router.yaml_text import Written
from tests.policies.test_properties import ASKS, SCORES, documents

calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
PHYSICS = Scores({"physics": 0.5, "sport": 0.3})


def document(**changed: Any) -> dict[str, Any]:
    """Return a policy; `changed` replaces adapters, None removes one."""
    adapters = {
        "core": {"from": "./core", "when": "always"},
        "physics": {"from": "./physics", "when": {"label": "physics", "at_least": 0.45}, "weight": 0.8},
        "academic": {"from": "./academic", "when": "asked", "alone": True},
        **changed,
    }
    return {
        "version": 1,
        "base": "org/model",
        "adapters": {name: adapter for name, adapter in adapters.items() if adapter is not None},
        "compose": {"at_most": 1},
        "backends": ["primary"],
    }


def policies(written: dict[str, Any]) -> Policies:
    return resolve(Written(written, "generated"))


def recorded(by: Policies, scores: Scores, asked: frozenset[str] | None, tenant: str = "default") -> Recorded:
    """Decide, log, and read the log's line."""
    fact = Decided("dec_1", decide(by.profile(tenant, None), scores, asked), "miss", 0.0, "", asked)
    return read_fields(json.loads(json.dumps(fields_of(fact))))


OLD = policies(document())
ACADEMIC = frozenset({"academic"})


def test_isolation_that_ends_is_told_with_the_core_that_joins() -> None:
    new = policies(document(academic={"from": "./academic", "when": "asked"}))
    replayed = Replay(new).again(recorded(OLD, PHYSICS, ACADEMIC))
    assert replayed.change is Change.ISOLATION_ENDS
    assert replayed.before.weights == {"academic": 1.0}
    assert replayed.answer.weights == {"academic": 1.0, "core": 1.0}  # type: ignore[union-attr]
    assert replayed.core_joins == ("core",)


def test_isolation_that_ends_without_a_core_is_told_although_the_same_adapter_speaks() -> None:
    old = document(
        core=None, academic={"from": "./a", "when": {"label": "academic", "at_least": 0.5}, "alone": True}
    )
    old["otherwise"] = ["physics"]
    new = json.loads(json.dumps(old))
    del new["adapters"]["academic"]["alone"]
    replayed = Replay(policies(new)).again(recorded(policies(old), Scores({"academic": 0.9}), None))
    assert (replayed.change, replayed.core_joins) == (Change.ISOLATION_ENDS, ())
    assert replayed.before.members == replayed.answer.members == (("academic", 1.0),)  # type: ignore[union-attr]


def test_a_front_end_s_own_task_stays_one() -> None:
    """Its log line has neither scores nor names, like a prompt that opened no gate; `otherwise` is not for it."""
    otherwise = json.loads(json.dumps(document())) | {"otherwise": ["physics"]}
    chore = Decided("dec_1", decide_chore(OLD.profile("default", None)), "miss", 0.0)
    line = read_fields(json.loads(json.dumps(fields_of(chore))))
    assert line.chore
    assert Replay(policies(otherwise)).again(line).change is Change.SAME
    nothing = recorded(OLD, Scores({}), None)
    assert not nothing.chore
    assert Replay(policies(otherwise)).again(nothing).change is Change.CHANGED


def test_isolation_that_begins_is_told() -> None:
    alone = {"from": "./physics", "when": {"label": "physics", "at_least": 0.45}, "alone": True}
    replayed = Replay(policies(document(physics=alone))).again(recorded(OLD, PHYSICS, None))
    assert replayed.change is Change.ISOLATION_BEGINS


@pytest.mark.parametrize(
    ("adapters", "change"),
    [
        ({"physics": {"from": "./physics", "when": {"label": "physics", "at_least": 0.51}}}, Change.CHANGED),
        (
            {"physics": {"from": "./physics", "when": {"label": "physics", "at_least": 0.5}, "weight": 0.7}},
            Change.CHANGED,
        ),
        ({"core": {"from": "./core-2", "when": "always"}}, Change.REBUILT),
        ({"academic": None}, Change.SAME),
        (
            {"physics": {"from": "./physics", "when": {"label": "physics", "at_least": 0.5}, "weight": 0.8}},
            Change.SAME,
        ),
    ],
)
def test_other_gates_weights_and_sources(adapters: dict[str, Any], change: Change) -> None:
    assert Replay(policies(document(**adapters))).again(recorded(OLD, PHYSICS, None)).change is change


def test_what_would_be_refused_now_has_its_code() -> None:
    barred = document() | {"may_ask": []}
    two = frozenset({"core", "physics"})
    asked = recorded(OLD, PHYSICS, ACADEMIC)
    gone = Replay(policies(document(academic=None))).again(asked)
    assert gone.change is Change.REFUSED
    assert gone.answer == Refusal("unknown_mode", "no adapter is called academic; you may ask for core, physics")
    assert Replay(policies(barred)).again(asked).answer.code == "mode_forbidden"  # type: ignore[union-attr]
    alone = {"from": "./physics", "when": "asked", "alone": True}
    contradiction = Replay(policies(document(physics=alone))).again(recorded(OLD, PHYSICS, two))
    assert contradiction.answer.code == "contradiction"  # type: ignore[union-attr]


def test_a_caller_that_the_policy_does_not_know_is_refused() -> None:
    with_tenant = policies(document() | {"tenants": {"clinic": {"otherwise": ["physics"]}}})
    replayed = Replay(OLD).again(recorded(with_tenant, PHYSICS, None, "clinic"))
    assert isinstance(replayed.answer, Refusal)
    assert replayed.answer.code == "unknown_profile"
    assert "'clinic'" in replayed.answer.message


@calm
@given(documents(), st.lists(st.tuples(SCORES, ASKS), max_size=8))
def test_by_the_same_policy_nothing_changes(
    written: dict[str, Any], given: list[tuple[Scores, frozenset[str] | None]]
) -> None:
    same, tally, count = policies(written), Tally(), 0
    replay = Replay(same)
    for scores, asked in given:
        try:
            taken = recorded(same, scores, asked)
        except (UnknownMode, Forbidden, Contradiction):
            continue  # it was refused then, and is in no log as a decision
        tally.add(taken, replay.again(taken))
        count += 1
    assert tally.by_change()[Change.SAME] == tally.by_change().total() == count
    assert tally.transitions() == []


@calm
@given(documents(), documents(), st.lists(st.tuples(SCORES, ASKS), max_size=30))
def test_every_outcome_is_what_decide_says_whatever_was_replayed_before(
    before: dict[str, Any], after: dict[str, Any], given: list[tuple[Scores, frozenset[str] | None]]
) -> None:
    old, new = policies(before), policies(after)
    replay = Replay(new)
    for scores, asked in given:
        try:
            taken = recorded(old, scores, asked)
        except (UnknownMode, Forbidden, Contradiction):
            continue
        right: Answer
        try:
            right = decide(new.profile("default", None), scores, asked).blend
        except Refused as refusal:
            right = Refusal(refusal.code, refusal.message)
        assert replay.again(taken).answer == right
