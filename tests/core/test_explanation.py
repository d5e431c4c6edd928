"""explain: the rule, the runner-up, every margin, and what would have changed it; answers worked out by hand.

tests/policies/test_properties.py holds `joins_at` against `decide` itself.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.core.decide import decide, decide_chore
from router.core.decision import Decision
from router.core.explanation import Explanation, Margin, Rule, RunnerUp, explain, told_apart
from router.core.policy import Policy
from router.core.scores import NOTHING_SCORED, Neighbour, Scores
from tests.core.profiles import ACADEMIC, CORE, DRAFT, LAW, PHYSICS, SPORT, TAX, policy

ALL = policy(CORE, PHYSICS, SPORT, LAW, TAX, DRAFT, ACADEMIC)
OPEN = policy(CORE, PHYSICS, SPORT)


def explained(profile: Policy, scores: Scores, *asked: str) -> Explanation:
    return explain(decide(profile, scores, frozenset(asked) or None), profile)


def margin(explanation: Explanation, adapter: str) -> Margin:
    return next(each for each in explanation.margins if each.adapter == adapter)


@pytest.mark.parametrize(
    ("scores", "asked", "rule", "says"),
    [
        ({"physics": 0.9}, ["sport"], Rule.EXPLICIT_ASK, "rule 1: the user named sport, which replaces"),
        ({"physics": 0.9}, ["core"], Rule.EXPLICIT_ASK, "rule 1: the user named core and nobody else"),
        ({}, ["academic"], Rule.EXPLICIT_ASK, "the classifier's guess; it speaks alone"),
        ({"physics": 0.9, "law": 0.7}, [], Rule.ISOLATED, "rule 2: the gate of law opened, and it speaks alone"),
        (
            {"physics": 0.6, "sport": 0.5},
            [],
            Rule.BEST_SCORES,
            "rule 3: best by score among the open gates: physics and sport (at most 2 may join); beside it "
            "speaks core, as always",
        ),
        ({"physics": 0.4}, [], Rule.OTHERWISE, "rule 4: no gate opened; core speaks as always"),
        ({}, [], Rule.OTHERWISE, "rule 4: nothing was scored, so no gate opened; core speaks as always"),
    ],
)
def test_the_rule_that_decided(scores: dict[str, float], asked: list[str], rule: Rule, says: str) -> None:
    told = explained(ALL, Scores(scores), *asked)
    assert told.rule is rule
    assert says in told.because


def test_a_chore_opens_no_gate_and_no_score_would_have() -> None:
    told = explain(decide_chore(OPEN), OPEN)
    assert told.rule is Rule.CHORE
    assert told.because.endswith("nothing was scored; core speaks")
    assert {each.because for each in told.margins} == {"a front end's own task opens no gate"}
    assert [each.joins_at for each in told.margins] == [None, None]


def test_otherwise_names_whom_the_policy_lets_join() -> None:
    some = replace(OPEN, otherwise=("sport",))
    told = explained(some, Scores({"physics": 0.4, "sport": 0.1}))
    assert told.because == (
        "rule 4: no gate opened; then the policy lets sport join; beside it speaks core, as always"
    )
    assert margin(told, "sport").because == (
        "0.10 is below the gate 0.50, but no gate opened, and the policy then names it"
    )
    assert (margin(told, "sport").speaks, margin(told, "sport").joins_at) == (True, None)


def test_out_of_domain_no_score_would_have_helped() -> None:
    told = explained(OPEN, Scores({"physics": 0.9, "sport": 0.1}, out_of_domain=True))
    assert told.rule is Rule.OTHERWISE
    assert "unlike every exemplar" in told.because
    assert told.runner_up is None
    assert margin(told, "physics").margin == pytest.approx(0.4)
    assert margin(told, "physics").joins_at is None


def test_the_runner_up_and_how_far_behind_it_is() -> None:
    told = explained(OPEN, Scores({"sport": 0.25, "art": 0.25, "physics": 0.5}))
    assert told.runner_up == RunnerUp("art", 0.25, 0.25)  # equal scores go by name
    assert explained(OPEN, Scores({"physics": 1.0})).runner_up is None
    assert explained(OPEN, NOTHING_SCORED).runner_up is None


def test_a_shut_gate_says_what_it_has_and_what_it_takes() -> None:
    shut = margin(explained(OPEN, Scores({"physics": 0.52, "sport": 0.48})), "sport")
    assert shut.margin == pytest.approx(-0.02)
    assert (shut.speaks, shut.joins_at) == (False, 0.5)
    assert shut.because == "would have joined at 0.50; it has 0.48"
    opened = margin(explained(OPEN, Scores({"physics": 0.52, "sport": 0.48})), "physics")
    assert opened.margin == pytest.approx(0.02)
    assert (opened.speaks, opened.joins_at, opened.because) == (True, None, "0.52 passes the gate 0.50")


def test_where_the_places_are_taken_the_gate_alone_is_not_enough() -> None:
    one = replace(OPEN, at_most=1)
    crowded = margin(explained(one, Scores({"physics": 0.55, "sport": 0.6})), "physics")
    assert crowded.joins_at == 0.6  # physics sorts before sport, so the same score is enough
    assert crowded.because == "0.55 passes the gate 0.50; would have joined in sport's place at 0.60"
    shut = margin(explained(one, Scores({"physics": 0.6, "sport": 0.4})), "sport")
    assert shut.joins_at is not None
    assert 0.6 < shut.joins_at < 0.6 + 1e-9
    assert shut.because == "0.40 is below the gate 0.50; would have joined in physics's place above 0.60"
    none = margin(explained(one, Scores({"physics": 1.0, "sport": 0.0})), "sport")
    assert none.joins_at is None  # nothing beats a score of 1


def test_beside_an_isolated_adapter_only_another_isolated_one_could_have_spoken() -> None:
    told = explained(ALL, Scores({"law": 0.7, "tax": 0.1, "physics": 0.9, "sport": 0.2}))
    assert margin(told, "physics").joins_at is None
    assert margin(told, "physics").because == "0.90 passes the gate 0.50; law speaks alone"
    assert margin(told, "sport").because == "0.20 is below the gate 0.50; law speaks alone"
    assert margin(told, "tax").because == (
        "0.10 is below the gate 0.60; would have spoken alone in law's place above 0.70"
    )
    free = explained(ALL, Scores({"law": 0.3, "physics": 0.9}))
    assert margin(free, "law").because == "would have spoken alone at 0.60; it has 0.30"


def test_a_label_that_nobody_scored() -> None:
    told = margin(explained(OPEN, NOTHING_SCORED), "sport")
    assert (told.score, told.margin, told.joins_at) == (None, None, 0.5)
    assert told.because == "sport was not scored; would have joined at 0.50"


def test_an_ask_leaves_the_gates_unasked() -> None:
    told = explained(ALL, Scores({"physics": 0.9}), "sport")
    assert (margin(told, "sport").because, margin(told, "sport").joins_at) == ("the user named it", None)
    assert (margin(told, "physics").because, margin(told, "physics").joins_at) == ("the user named others", None)


def test_adapters_without_a_gate_have_no_margin() -> None:
    assert [each.adapter for each in explained(ALL, Scores({})).margins] == ["law", "physics", "sport", "tax"]


def test_a_decision_out_of_the_cache_explains_itself_as_well() -> None:
    fresh = decide(ALL, Scores({"physics": 0.9, "sport": 0.1}), None)
    assert explain(Decision.from_json(fresh.to_json()), ALL) == explain(fresh, ALL)


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        (0.5, 0.25, ("0.50", "0.25")),
        (0.5496, 0.55, ("0.5496", "0.5500")),
        (0.5, 0.5, ("0.50", "0.50")),
    ],
)
def test_numbers_that_differ_look_different(one: float, other: float, told: tuple[str, str]) -> None:
    assert told_apart(one, other) == told


def test_distance_is_one_minus_the_cosine_and_never_negative() -> None:
    assert Neighbour("t", "l", 0.75).distance == 0.25
    assert Neighbour("t", "l", 1.0000001).distance == 0.0
