"""What holds for every policy, score and ask, with examples that hypothesis looks for and shrinks."""

from __future__ import annotations

from math import nextafter
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bench.oracle import oracle
from router.core.decide import decide, told_of_all
from router.core.decision import Decision
from router.core.errors import Contradiction, Forbidden, UnknownMode
from router.core.explanation import Margin, explain
from router.core.policy import Always, Policy, WhenLabel
from router.core.reachable import reachable
from router.core.scores import Scores
from router.policy_file import resolve
from router.yaml_text import Written

calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
"""No wall clock: a busy machine is no fault. Refused asks are filtered out, about half of them."""

NAMES = ["art", "core", "draft", "law", "phys", "sport"]
LABELS = [f"about-{name}" for name in NAMES]
PROBABILITIES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1)
GATES = st.sampled_from([0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1, exclude_min=True)
WEIGHTS = st.sampled_from([0.8, 1.0]) | st.floats(0.001, 10) | st.floats(-10, -0.001)
SCORES = st.builds(Scores, st.dictionaries(st.sampled_from(LABELS), PROBABILITIES), st.booleans())
ASKS = st.none() | st.frozensets(st.sampled_from([*NAMES, "nobody"]), max_size=4)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a policy document that `check` accepts."""
    adapters: dict[str, dict[str, Any]] = {}
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True)):
        when = draw(st.sampled_from(["always", "asked", "label"]))
        entry: dict[str, Any] = {"from": f"./{name}", "when": when, "weight": draw(WEIGHTS)}
        if when == "label":
            entry["when"] = {"label": f"about-{name}", "at_least": draw(GATES)}
        if when != "always":
            entry["alone"] = draw(st.booleans())
        adapters[name] = entry
    at_most = draw(st.integers(1, 4))
    joining = [name for name, a in adapters.items() if isinstance(a["when"], dict) and not a["alone"]]
    otherwise = draw(st.lists(st.sampled_from(joining), unique=True, max_size=at_most)) if joining else []
    assume(otherwise or any(a["when"] == "always" for a in adapters.values()))
    document = {
        "version": 1,
        "base": "org/model",
        "adapters": adapters,
        "compose": {"at_most": at_most},
        "otherwise": otherwise,
        "backends": ["primary"],
    }
    if asked := [name for name, a in adapters.items() if a["when"] == "asked"]:
        may_ask = draw(st.none() | st.lists(st.sampled_from(asked), unique=True))
        if may_ask is not None:
            document["may_ask"] = may_ask
    return document


def profile(document: dict[str, Any]) -> Policy:
    return resolve(Written(document, "generated")).profile("default", None)


def decided(policy: Policy, scores: Scores, asked: frozenset[str] | None) -> Decision:
    """Decide; asks that are refused are no example."""
    try:
        return decide(policy, scores, asked)
    except (UnknownMode, Forbidden, Contradiction):
        assume(False)
        raise


@calm
@given(documents(), SCORES, ASKS)
def test_every_decision_lies_in_the_closure(
    document: dict[str, Any], scores: Scores, asked: frozenset[str] | None
) -> None:
    policy = profile(document)
    assert decided(policy, scores, asked).blend in reachable(policy)


@calm
@given(documents(), SCORES, ASKS)
def test_every_decision_is_the_one_that_the_words_of_the_rules_give(
    document: dict[str, Any], scores: Scores, asked: frozenset[str] | None
) -> None:
    right = oracle(document, scores.values, scores.out_of_domain, asked)
    came: dict[str, float] | str
    try:
        came = decide(profile(document), scores, asked).blend.weights
    except (UnknownMode, Forbidden, Contradiction) as refusal:
        came = refusal.code
    assert came == right


@calm
@given(documents(), SCORES, ASKS)
def test_alone_means_exactly_one_and_otherwise_every_always_adapter_speaks(
    document: dict[str, Any], scores: Scores, asked: frozenset[str] | None
) -> None:
    policy = profile(document)
    decision = decided(policy, scores, asked)
    speaking = set(decision.blend.weights)
    if any(policy.adapter(name).alone for name in speaking):
        assert len(speaking) == 1
        assert decision.blend.alone
    else:
        assert {a.name for a in policy.adapters if isinstance(a.when, Always)} <= speaking
        assert not decision.blend.alone


@calm
@given(documents(), st.fixed_dictionaries(dict.fromkeys(LABELS, PROBABILITIES)), st.data())
def test_raising_a_labels_score_never_drops_its_own_adapter(
    document: dict[str, Any], scores: dict[str, float], data: st.DataObject
) -> None:
    policy = profile(document)
    for verdict in decide(policy, Scores(scores), None).verdicts:
        if verdict.speaks and verdict.label is not None:
            higher = data.draw(st.floats(scores[verdict.label], 1))
            after = decide(policy, Scores({**scores, verdict.label: higher}), None)
            assert verdict.adapter in after.blend.weights


@calm
@given(documents(), SCORES, ASKS)
def test_a_silent_adapter_speaks_from_exactly_the_score_that_the_explanation_names(
    document: dict[str, Any], scores: Scores, asked: frozenset[str] | None
) -> None:
    policy = profile(document)
    explanation = explain(decided(policy, scores, asked), policy)

    def speaks(margin: Margin, score: float) -> bool:
        changed = Scores({**scores.values, margin.label: score}, scores.out_of_domain)
        return margin.adapter in decide(policy, changed, asked).blend.weights

    for margin in explanation.margins:
        if margin.speaks:
            assert margin.joins_at is None
        elif margin.joins_at is None:
            assert not speaks(margin, 1.0)
        else:
            assert speaks(margin, margin.joins_at)
            assert not speaks(margin, nextafter(margin.joins_at, 0.0))


@calm
@given(documents(), SCORES, ASKS, st.randoms(use_true_random=False))
def test_the_order_of_lines_is_irrelevant(
    document: dict[str, Any], scores: Scores, asked: frozenset[str] | None, random: Any
) -> None:
    def shuffled(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key]) for key in keys}

    policy, other = profile(document), profile(shuffled(document))
    assert other.revision == policy.revision
    assert reachable(other) == reachable(policy)
    assert decided(other, scores, asked) == decided(policy, scores, asked)


@calm
@given(documents(), SCORES, ASKS)
def test_a_decision_survives_json(document: dict[str, Any], scores: Scores, asked: frozenset[str] | None) -> None:
    decision = decided(profile(document), scores, asked)
    assert Decision.from_json(decision.to_json()) == decision


@calm
@given(documents(), SCORES, ASKS)
def test_every_adapter_has_one_verdict_that_agrees_with_the_blend(
    document: dict[str, Any], scores: Scores, asked: frozenset[str] | None
) -> None:
    policy = profile(document)
    decision = decided(policy, scores, asked)
    assert [verdict.adapter for verdict in told_of_all(policy, decision)] == sorted(document["adapters"])
    assert {v.adapter: v.weight for v in decision.verdicts if v.speaks} == decision.blend.weights
    for verdict in decision.verdicts:
        when = policy.adapter(verdict.adapter).when
        assert (verdict.gate is not None) == isinstance(when, WhenLabel)


@calm
@given(documents(), SCORES)
def test_out_of_domain_is_the_same_as_no_score_at_all(document: dict[str, Any], scores: Scores) -> None:
    policy = profile(document)
    stranger = Scores(scores.values, out_of_domain=True)
    assert decide(policy, stranger, None).blend == decide(policy, Scores(), None).blend
