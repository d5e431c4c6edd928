"""`make prove` itself: it passes the real decide, and finds every fault that is planted in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from click.testing import CliRunner

from bench.prove import PER_POLICY, Decide, batches, main, violations
from router.core.blend import Blend
from router.core.decide import decide
from router.core.decision import Decision
from router.core.errors import Forbidden, Refused
from router.core.policy import Policy
from router.core.scores import Scores

Asked = frozenset[str] | None


def changed(change: Callable[[Policy, Decision], Decision]) -> Decide:
    """Return decide with its result spoiled."""
    return lambda policy, scores, asked: change(policy, decide(policy, scores, asked))


def speaking(policy: Policy, decision: Decision, names: frozenset[str]) -> Decision:
    """Return the decision with other speakers; with none, unchanged."""
    if not names:
        return decision
    weights = {name: policy.adapter(name).weight for name in names}
    return replace(decision, blend=Blend.of(policy.base, weights, {a.name: a.source for a in policy.adapters}))


def drops_the_core(policy: Policy, decision: Decision) -> Decision:
    gone = frozenset(v.adapter for v in decision.verdicts if v.reason != "always")
    return speaking(policy, decision, frozenset(decision.blend.weights) & gone)


def leaks_the_core(policy: Policy, decision: Decision) -> Decision:
    core = frozenset(v.adapter for v in decision.verdicts if v.reason == "isolated")
    return (
        speaking(policy, decision, frozenset(decision.blend.weights) | core) if decision.blend.alone else decision
    )


def rounds_weights(policy: Policy, decision: Decision) -> Decision:
    members = tuple((name, float(round(weight))) for name, weight in decision.blend.members)
    return replace(decision, blend=replace(decision.blend, members=members))


def forgets_permission(policy: Policy, scores: Scores, asked: Asked) -> Decision:
    return decide(replace(policy, may_ask=None), scores, asked)


def forgets_at_most(policy: Policy, scores: Scores, asked: Asked) -> Decision:
    return decide(replace(policy, at_most=policy.at_most + 1), scores, asked)


def forgets_otherwise(policy: Policy, scores: Scores, asked: Asked) -> Decision:
    return decide(replace(policy, otherwise=()), scores, asked)


def forgets_isolation(policy: Policy, scores: Scores, asked: Asked) -> Decision:
    return decide(replace(policy, adapters=tuple(replace(a, alone=False) for a in policy.adapters)), scores, asked)


def forgets_the_ask(policy: Policy, scores: Scores, asked: Asked) -> Decision:
    return decide(policy, scores, None)


def forgets_out_of_domain(policy: Policy, scores: Scores, asked: Asked) -> Decision:
    return decide(policy, replace(scores, out_of_domain=False), asked)


def wants_more_than_the_gate(policy: Policy, scores: Scores, asked: Asked) -> Decision:
    lower = {label: score - 1e-9 for label, score in scores.values.items()}
    return replace(decide(policy, Scores(lower, scores.out_of_domain), asked), label=scores.label)


def breaks_ties_backwards(policy: Policy, scores: Scores, asked: Asked) -> Decision:
    nudged = {label: score + at * 1e-9 for at, (label, score) in enumerate(sorted(scores.values.items()))}
    return replace(decide(policy, Scores(nudged, scores.out_of_domain), asked), label=scores.label)


def crashes_on_unknown_names(policy: Policy, scores: Scores, asked: Asked) -> Decision:
    for name in asked or ():
        policy.adapter(name)  # KeyError
    return decide(policy, scores, asked)


def confuses_refusals(policy: Policy, scores: Scores, asked: Asked) -> Decision:
    try:
        return decide(policy, scores, asked)
    except Refused as refusal:
        raise Forbidden("no") from refusal


def prefers_low_scores(policy: Policy, scores: Scores, asked: Asked) -> Decision:
    decision = decide(policy, scores, asked)
    crowded = [v.adapter for v in decision.verdicts if v.reason == "crowded_out"]
    winners = [v.adapter for v in decision.verdicts if v.reason == "scored"]
    if not crowded:
        return decision
    return speaking(policy, decision, frozenset(decision.blend.weights) - {winners[0]} | {crowded[0]})


FAULTS: list[Decide] = [
    changed(drops_the_core),
    changed(leaks_the_core),
    changed(rounds_weights),
    changed(lambda policy, decision: replace(decision, verdicts=decision.verdicts[:-1])),
    changed(lambda policy, decision: replace(decision, label=None)),
    changed(lambda policy, decision: replace(decision, policy="")),
    changed(lambda policy, decision: replace(decision, scores={1: 0.5})),  # type: ignore[dict-item] # the fault
    forgets_permission,
    forgets_at_most,
    forgets_otherwise,
    forgets_isolation,
    forgets_the_ask,
    forgets_out_of_domain,
    wants_more_than_the_gate,
    breaks_ties_backwards,
    crashes_on_unknown_names,
    confuses_refusals,
    prefers_low_scores,
]
NAMES = [
    *("core dropped", "core leaked", "weights rounded", "verdict lost", "label lost", "revision lost", "not JSON"),
    *(fault.__name__ for fault in FAULTS[7:] if hasattr(fault, "__name__")),
]


@pytest.mark.parametrize("fault", FAULTS, ids=NAMES)
def test_a_planted_fault_is_found(fault: Decide) -> None:
    found = sum(len(violations(fault, 60, f"planted/{at}")) for at in range(40))
    assert found > 0


@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        (changed(drops_the_core), "an `always` adapter is missing"),
        (changed(leaks_the_core), "an isolated adapter is not alone"),
        (changed(rounds_weights), "is not in the closure"),
        (forgets_permission, "mode_forbidden is right"),
    ],
    ids=["core dropped", "core leaked", "weights rounded", "permission"],
)
def test_a_planted_fault_is_called_by_its_name(fault: Decide, promise: str) -> None:
    found = [v.promise for at in range(40) for v in violations(fault, 60, f"planted/{at}")]
    assert any(promise in said for said in found)


def test_the_real_decide_breaks_no_promise() -> None:
    assert [str(v) for at in range(40) for v in violations(decide, 60, f"planted/{at}")] == []


def test_the_same_seed_makes_the_same_decisions() -> None:
    fault = changed(drops_the_core)
    assert violations(fault, 50, "7") == violations(fault, 50, "7")
    assert violations(fault, 50, "7") != violations(fault, 50, "8")


def test_the_decisions_add_up() -> None:
    assert sum(count for _, count in batches(1_000_000)) == 1_000_000
    assert batches(PER_POLICY + 1) == [(0, PER_POLICY), (1, 1)]


def test_the_command_reports_and_exits_with_0() -> None:
    result = CliRunner().invoke(main, ["--decisions", "500", "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert "500 decisions, 0 violations" in result.output
