"""Why a decision came out as it did, in words and numbers, and what would have changed it. Pure.

Made from the decision and the policy it was taken under, so a decision out of the cache explains itself as well as
a fresh one. Knows no prompt and no exemplar: which exemplars were nearest is the classifier's to say.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from router.core.decision import Decision, Reason, Verdict
from router.core.policy import Policy


class Rule(StrEnum):
    """The rule of `decide` that settled who speaks. Its fifth, about weights, never chooses anybody."""

    EXPLICIT_ASK = "explicit_ask"  # 1: the user named adapters
    ISOLATED = "isolated"  # 2: the gate of an `alone` adapter opened
    BEST_SCORES = "best_scores"  # 3: the best `at_most` whose gates opened
    OTHERWISE = "otherwise"  # 4: no gate opened
    CHORE = "chore"  # none of them: a front end's own task, which needs no expert


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """The second best label, its score, and how far it is behind the best one."""

    label: str
    score: float
    gap: float


@dataclass(frozen=True, slots=True)
class Margin:
    """One gated adapter: how far its score is from its gate, and what it would have taken.

    `margin` is score minus gate, negative below it; None where nothing was scored. `joins_at` is the least score
    with which a silent adapter would have spoken, all other scores as they were; None where no score could do it.
    """

    adapter: str
    label: str
    score: float | None
    gate: float
    margin: float | None
    speaks: bool
    reason: Reason
    joins_at: float | None
    because: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The rule that decided, a sentence about it, the second best label, and the margin to every gate."""

    rule: Rule
    because: str
    runner_up: RunnerUp | None
    margins: tuple[Margin, ...]


@dataclass(frozen=True, slots=True)
class _Hurdle:
    """What a silent adapter has to reach; `rival` is who must be outdone where the gate alone is not enough."""

    at: float
    rival: Verdict | None = None


def explain(decision: Decision, policy: Policy) -> Explanation:
    """Explain `decision`, which was taken under `policy`."""
    return Explanation(*_rule(decision, policy), _runner_up(decision), tuple(_margins(decision, policy)))


def _rule(decision: Decision, policy: Policy) -> tuple[Rule, str]:
    chosen = [v.adapter for v in decision.verdicts if v.speaks and v.reason is not Reason.ALWAYS]
    always = [v.adapter for v in decision.verdicts if v.speaks and v.reason is Reason.ALWAYS]
    who = _listed(chosen)
    beside = f"; beside it speaks {_listed(always)}, as always" if always else ""
    if decision.reason is Reason.CHORE:
        task = "a front end's own task (a title, tags): no expert is needed and nothing was scored"
        return Rule.CHORE, f"{task}; {_listed(chosen + always)} speaks"
    if decision.reason is Reason.ASKED:
        named = f"the user named {who}" if chosen else f"the user named {_listed(always)} and nobody else"
        alone = "; it speaks alone" if decision.blend.alone else beside if chosen else ""
        return Rule.EXPLICIT_ASK, f"rule 1: {named}, which replaces the classifier's guess{alone}"
    if decision.reason is Reason.SCORED and decision.blend.alone:
        return Rule.ISOLATED, f"rule 2: the gate of {who} opened, and it speaks alone"
    if decision.reason is Reason.SCORED:
        most = f"at most {policy.at_most} may join"
        return Rule.BEST_SCORES, f"rule 3: best by score among the open gates: {who} ({most}){beside}"
    if decision.out_of_domain:
        shut = "the subject is unlike every exemplar, so no gate opened"
    else:
        shut = "no gate opened" if decision.scores else "nothing was scored, so no gate opened"
    then = f"then the policy lets {who} join{beside}" if chosen else f"{_listed(always)} speaks as always"
    return Rule.OTHERWISE, f"rule 4: {shut}; {then}"


def _runner_up(decision: Decision) -> RunnerUp | None:
    """Return the second best label; None without two scores, and out of domain, where scores mean nothing."""
    if decision.out_of_domain or len(decision.scores) < 2:
        return None
    (_, best), (label, score) = sorted(decision.scores.items(), key=lambda entry: (-entry[1], entry[0]))[:2]
    return RunnerUp(label, score, best - score)


def _margins(decision: Decision, policy: Policy) -> Iterator[Margin]:
    for verdict in decision.verdicts:
        if verdict.label is None or verdict.gate is None:
            continue
        hurdle = None if verdict.speaks else _hurdle(verdict, verdict.gate, decision, policy)
        yield Margin(
            adapter=verdict.adapter,
            label=verdict.label,
            score=verdict.score,
            gate=verdict.gate,
            margin=None if verdict.score is None else verdict.score - verdict.gate,
            speaks=verdict.speaks,
            reason=verdict.reason,
            joins_at=hurdle.at if hurdle else None,
            because=_sentence(verdict, hurdle, decision, policy),
        )


def _hurdle(silent: Verdict, gate: float, decision: Decision, policy: Policy) -> _Hurdle | None:
    """Return what `silent` would have had to score to speak; None when no score would have been enough."""
    if decision.reason in (Reason.ASKED, Reason.CHORE) or decision.out_of_domain:
        return None
    joined = [v for v in decision.verdicts if v.speaks and v.reason is Reason.SCORED and v.score is not None]
    if policy.adapter(silent.adapter).alone:
        rivals = joined if decision.blend.alone else []  # an open gate of its own silences all the others
    elif decision.blend.alone:
        return None
    else:
        rivals = joined if len(joined) >= policy.at_most else []
    if not rivals:
        return _Hurdle(gate)
    weakest = max(rivals, key=lambda v: (-(v.score or 0.0), v.adapter))
    score = weakest.score or 0.0
    if silent.adapter > weakest.adapter:  # equal scores go by name
        score = math.nextafter(score, math.inf)
    if score <= gate:
        return _Hurdle(gate)
    return _Hurdle(score, weakest) if score <= 1.0 else None


def _sentence(verdict: Verdict, hurdle: _Hurdle | None, decision: Decision, policy: Policy) -> str:
    """Say how the adapter stands to its gate, and what would have made a silent one speak."""
    if verdict.reason is Reason.ASKED:
        return "the user named it"
    if verdict.reason is Reason.NOT_ASKED:
        return "the user named others"
    if verdict.reason is Reason.CHORE:
        return "a front end's own task opens no gate"
    if verdict.reason is Reason.OUT_OF_DOMAIN:
        return "out of domain: no score opens a gate"
    gate, would = verdict.gate or 0.0, "would have joined"
    if policy.adapter(verdict.adapter).alone:
        would = "would have spoken alone"
    if verdict.score is None:
        stands = f"{verdict.label} was not scored"
        reach = f"{gate:.2f}"
    else:
        score, reach = told_apart(verdict.score, gate)
        if hurdle is not None and hurdle.rival is None:
            return f"{would} at {reach}; it has {score}"
        stands = f"{score} {'passes' if verdict.score >= gate else 'is below'} the gate {reach}"
    if verdict.reason is Reason.OTHERWISE:
        return f"{stands}, but no gate opened, and the policy then names it"
    if verdict.speaks:
        return stands
    if hurdle is None:
        return f"{stands}; {decision.blend.members[0][0]} speaks alone" if decision.blend.alone else stands
    if hurdle.rival is None:
        return f"{stands}; {would} at {reach}"
    bound = hurdle.rival.score or 0.0
    from_where = "above" if hurdle.at > bound else "at"
    return f"{stands}; {would} in {hurdle.rival.adapter}'s place {from_where} {bound:.2f}"


def told_apart(one: float, other: float) -> tuple[str, str]:
    """Return two numbers with two digits, or with as many as it takes to show that they differ."""
    digits = next((d for d in range(2, 17) if one == other or f"{one:.{d}f}" != f"{other:.{d}f}"), 17)
    return f"{one:.{digits}f}", f"{other:.{digits}f}"


def _listed(names: Collection[str]) -> str:
    return " and ".join(sorted(names)) or "nobody"
