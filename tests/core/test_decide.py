"""decide: every rule of the policy's authority, with answers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.core.decide import decide, told_of_all
from router.core.decision import Reason
from router.core.errors import Contradiction, Forbidden, UnknownMode
from router.core.policy import Adapter, Policy, WhenAsked, WhenLabel
from router.core.scores import NOTHING_SCORED, Scores
from tests.core.profiles import ACADEMIC, CORE, DRAFT, LAW, PHYSICS, SPORT, TAX, policy

ALL = policy(CORE, PHYSICS, SPORT, LAW, TAX, DRAFT, ACADEMIC)


def weights(profile: Policy, scores: dict[str, float], *asked: str) -> dict[str, float]:
    return decide(profile, Scores(scores), frozenset(asked) or None).blend.weights


def reasons(profile: Policy, scores: Scores, *asked: str) -> dict[str, tuple[bool, Reason]]:
    decision = decide(profile, scores, frozenset(asked) or None)
    return {verdict.adapter: (verdict.speaks, verdict.reason) for verdict in told_of_all(profile, decision)}


# --- guesses


def test_the_best_scores_join_the_core_with_the_written_weights() -> None:
    assert weights(ALL, {"physics": 0.9}) == {"core": 1.0, "physics": 0.8}
    assert weights(ALL, {"physics": 0.5, "sport": 0.5}) == {"core": 1.0, "physics": 0.8, "sport": 0.7}


def test_a_gate_opens_at_its_threshold_and_not_below() -> None:
    assert weights(ALL, {"physics": 0.5}) == {"core": 1.0, "physics": 0.8}
    assert weights(ALL, {"physics": 0.4999999}) == {"core": 1.0}


def test_at_most_keeps_the_best_and_ties_go_by_name() -> None:
    one = replace(ALL, at_most=1)
    assert weights(one, {"physics": 0.6, "sport": 0.7}) == {"core": 1.0, "sport": 0.7}
    assert weights(one, {"physics": 0.7, "sport": 0.7}) == {"core": 1.0, "physics": 0.8}
    verdicts = reasons(one, Scores({"physics": 0.6, "sport": 0.7}))
    assert verdicts["physics"] == (False, Reason.CROWDED_OUT)
    assert verdicts["sport"] == (True, Reason.SCORED)


def test_nobody_passed_means_otherwise() -> None:
    some = policy(CORE, PHYSICS, SPORT, otherwise=("sport",))
    decision = decide(some, Scores({"physics": 0.4, "sport": 0.1}), None)
    assert decision.blend.weights == {"core": 1.0, "sport": 0.7}
    assert decision.reason is Reason.OTHERWISE
    assert reasons(some, Scores({"physics": 0.4, "sport": 0.1})) == {
        "core": (True, Reason.ALWAYS),
        "physics": (False, Reason.BELOW),
        "sport": (True, Reason.OTHERWISE),
    }


def test_otherwise_is_not_added_when_a_gate_opened() -> None:
    some = policy(CORE, PHYSICS, SPORT, otherwise=("sport",))
    assert weights(some, {"physics": 0.6}) == {"core": 1.0, "physics": 0.8}


def test_a_policy_without_a_core_lives_on_otherwise() -> None:
    some = policy(PHYSICS, SPORT, otherwise=("sport",))
    assert weights(some, {}) == {"sport": 0.7}
    assert weights(some, {"physics": 0.9}) == {"physics": 0.8}


def test_out_of_domain_opens_no_gate_however_high_the_score() -> None:
    scores = Scores({"physics": 0.99, "law": 0.9}, out_of_domain=True)
    decision = decide(ALL, scores, None)
    assert decision.blend.weights == {"core": 1.0}
    assert (decision.reason, decision.out_of_domain, decision.label) == (Reason.OTHERWISE, True, None)
    verdicts = reasons(ALL, scores)
    assert verdicts["physics"] == verdicts["law"] == (False, Reason.OUT_OF_DOMAIN)
    assert verdicts["draft"] == (False, Reason.NOT_ASKED)


def test_nothing_scored_is_the_core_alone() -> None:
    assert decide(ALL, NOTHING_SCORED, None).blend.weights == {"core": 1.0}


def test_a_score_that_is_not_a_number_opens_nothing() -> None:
    assert weights(ALL, {"physics": float("nan")}) == {"core": 1.0}


# --- isolation


def test_an_isolated_guess_excludes_everything_even_a_better_score() -> None:
    decision = decide(ALL, Scores({"physics": 0.9, "law": 0.6}), None)
    assert decision.blend.weights == {"law": 1.5}
    assert decision.blend.alone
    assert decision.reason is Reason.SCORED
    assert reasons(ALL, Scores({"physics": 0.9, "law": 0.6, "sport": 0.1})) == {
        "academic": (False, Reason.NOT_ASKED),
        "core": (False, Reason.ISOLATED),
        "draft": (False, Reason.NOT_ASKED),
        "law": (True, Reason.SCORED),
        "physics": (False, Reason.ISOLATED),
        "sport": (False, Reason.BELOW),
        "tax": (False, Reason.BELOW),
    }


def test_of_two_isolated_guesses_the_better_wins_and_ties_go_by_name() -> None:
    assert weights(ALL, {"law": 0.7, "tax": 0.8}) == {"tax": 1.0}
    assert weights(ALL, {"law": 0.8, "tax": 0.8}) == {"law": 1.5}


def test_an_isolated_ask_silences_the_core_and_the_guess() -> None:
    decision = decide(ALL, Scores({"physics": 0.99}), frozenset({"academic"}))
    assert decision.blend.weights == {"academic": 1.0}
    assert (decision.blend.alone, decision.reason, decision.label) == (True, Reason.ASKED, "physics")
    assert reasons(ALL, Scores({"physics": 0.99}), "academic")["core"] == (False, Reason.ISOLATED)


# --- asks


def test_an_ask_replaces_the_guess() -> None:
    decision = decide(ALL, Scores({"sport": 0.99, "law": 0.9}), frozenset({"physics"}))
    assert decision.blend.weights == {"core": 1.0, "physics": 0.8}
    assert (decision.reason, decision.label) == (Reason.ASKED, "sport")
    verdicts = reasons(ALL, Scores({"sport": 0.99}), "physics")
    assert verdicts["physics"] == (True, Reason.ASKED)
    assert verdicts["sport"] == (False, Reason.NOT_ASKED)
    assert verdicts["core"] == (True, Reason.ALWAYS)


def test_naming_the_core_adds_nothing_and_counts_for_nothing() -> None:
    assert weights(ALL, {}, "core", "physics", "sport") == {"core": 1.0, "physics": 0.8, "sport": 0.7}
    assert weights(ALL, {"physics": 0.9}, "core") == {"core": 1.0}


def test_an_explicit_adapter_joins_the_core() -> None:
    assert weights(ALL, {}, "draft") == {"core": 1.0, "draft": 0.25}


@pytest.mark.parametrize("asked", [{"academic", "core"}, {"academic", "physics"}, {"law", "tax"}])
def test_an_isolated_adapter_with_anybody_is_a_contradiction(asked: set[str]) -> None:
    with pytest.raises(Contradiction, match=r"speaks alone .* by itself"):
        decide(ALL, NOTHING_SCORED, frozenset(asked))


def test_more_than_at_most_is_a_contradiction() -> None:
    with pytest.raises(Contradiction, match="draft, physics, sport are 3 adapters; at most 2 may speak together"):
        decide(ALL, NOTHING_SCORED, frozenset({"physics", "sport", "draft"}))


def test_an_unknown_name_is_refused_with_what_may_be_asked_for() -> None:
    some = policy(CORE, PHYSICS, DRAFT, ACADEMIC, may_ask=frozenset({"draft"}))
    with pytest.raises(UnknownMode) as raised:
        decide(some, NOTHING_SCORED, frozenset({"physics", "chemistry"}))
    assert str(raised.value) == "no adapter is called chemistry; you may ask for core, draft, physics"
    assert (raised.value.status, raised.value.code) == (400, "unknown_mode")


def test_asking_for_nobody_is_refused() -> None:
    with pytest.raises(UnknownMode, match="no adapter was named"):
        decide(ALL, NOTHING_SCORED, frozenset())


def test_an_adapter_outside_may_ask_is_forbidden_and_the_others_are_not() -> None:
    some = policy(CORE, PHYSICS, DRAFT, ACADEMIC, may_ask=frozenset({"draft"}))
    with pytest.raises(Forbidden) as raised:
        decide(some, NOTHING_SCORED, frozenset({"academic"}))
    assert str(raised.value) == "you may not ask for academic; you may ask for core, draft, physics"
    assert (raised.value.status, raised.value.code) == (403, "mode_forbidden")
    assert weights(some, {}, "draft", "physics") == {"core": 1.0, "draft": 0.25, "physics": 0.8}


def test_permission_is_settled_before_contradictions() -> None:
    """Whoever may not name an adapter learns nothing about how it combines."""
    some = policy(CORE, ACADEMIC, may_ask=frozenset())
    with pytest.raises(Forbidden):
        decide(some, NOTHING_SCORED, frozenset({"academic", "core"}))


# --- what a decision carries


def test_the_decision_names_its_policy_caller_and_scores() -> None:
    decision = decide(ALL, Scores({"physics": 0.9, "sport": 0.1}), None)
    assert (decision.policy, decision.tenant, decision.role) == ("0123456789abcdef", "acme", "editor")
    assert (decision.label, decision.scores) == ("physics", {"physics": 0.9, "sport": 0.1})
    physics = next(verdict for verdict in decision.verdicts if verdict.adapter == "physics")
    assert (physics.label, physics.score, physics.gate, physics.weight) == ("physics", 0.9, 0.5, 0.8)
    assert decision.why() == "core: always; physics: physics 0.90 >= 0.50"


def test_the_order_of_adapters_of_equal_policies_cannot_matter() -> None:
    one = policy(CORE, PHYSICS, SPORT, LAW)
    other = policy(LAW, SPORT, PHYSICS, CORE)
    for scores in ({"physics": 0.7, "sport": 0.7}, {"law": 0.9}, {}):
        assert decide(one, Scores(scores), None) == decide(other, Scores(scores), None)


def test_a_decision_keeps_no_verdict_of_those_that_nobody_named() -> None:
    crowd = [Adapter(f"a{i:04}", f"./{i}", WhenAsked()) for i in range(5000)]
    profile = policy(CORE, PHYSICS, *crowd)
    guessed, asked = (
        decide(profile, Scores({"physics": 0.9}), None),
        decide(profile, Scores({}), frozenset({"a0007"})),
    )
    assert [v.adapter for v in guessed.verdicts] == ["core", "physics"]
    assert [v.adapter for v in asked.verdicts] == ["a0007", "core", "physics"]
    assert [v.adapter for v in told_of_all(profile, asked)] == [a.name for a in profile.adapters]
    assert len(asked.to_json()) < 1000


def test_sixteen_adapters_have_sixteen_verdicts() -> None:
    domains = [Adapter(f"d{i:02}", f"./{i}", WhenLabel(f"l{i}", 0.05)) for i in range(15)]
    decision = decide(policy(CORE, *domains), Scores({f"l{i}": 1 / 15 for i in range(15)}), None)
    assert [verdict.adapter for verdict in decision.verdicts] == ["core", *(f"d{i:02}" for i in range(15))]
    assert decision.blend.weights == {"core": 1.0, "d00": 1.0, "d01": 1.0}
