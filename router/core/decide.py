"""The function that takes decisions: policy + scores + asked -> Decision. Pure; knows no file, clock or engine.

Authority, never the order of lines:

1. an explicit ask replaces the classifier's guess (`asked` adapters need the caller's permission);
2. an active `alone` adapter excludes everything else, the core included;
3. otherwise the best `at_most` by score join the `always` adapters;
4. when no gate opened, `otherwise` joins them;
5. weights are exactly the written ones.

A contradiction that a user asked for is an error with a name. One among guesses is resolved, and the verdicts
say how.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from operator import attrgetter

from router.core.decision import Decision, Reason, Verdict
from router.core.errors import Contradiction, Forbidden, UnknownMode
from router.core.policy import Adapter, Always, Policy, WhenAsked, WhenLabel
from router.core.scores import NOTHING_SCORED, Scores

_name = attrgetter("name")


def decide(policy: Policy, scores: Scores, asked: frozenset[str] | None) -> Decision:
    """Decide who speaks.

    `asked` holds adapter names (aliases are resolved before), or is None when the user named nobody and the
    scores choose. Ties between scores go to the name that sorts first. Out of domain no gate opens.

    Raises UnknownMode (a name nobody has, or no name at all), Forbidden (an `asked` adapter outside `may_ask`)
    or Contradiction (an `alone` adapter together with another name, more than `at_most` names that are not
    `always`). Without `asked` it raises nothing for a policy that `check` accepts.
    """
    opened = frozenset[str]()
    if asked is not None:
        chosen, reason = _named(policy, asked), Reason.ASKED
    else:
        ranked = open_gates(policy, scores)
        opened = frozenset(a.name for a in ranked)
        if isolated := next((a for a in ranked if a.alone), None):
            chosen, reason = frozenset((isolated.name,)), Reason.SCORED
        elif ranked:
            chosen, reason = frozenset(a.name for a in ranked[: policy.at_most]), Reason.SCORED
        else:
            chosen, reason = frozenset(policy.otherwise), Reason.OTHERWISE
    isolates = any(policy.adapter(name).alone for name in chosen)
    speaking = chosen if isolates else chosen | policy.always()
    return Decision(
        blend=policy.blend(speaking),
        verdicts=tuple(_verdicts(policy, speaking, opened, reason, scores, isolates)),
        reason=reason,
        label=scores.label,
        scores=scores.values,
        out_of_domain=scores.out_of_domain,
        policy=policy.revision,
        tenant=policy.tenant,
        role=policy.role,
    )


def decide_chore(policy: Policy) -> Decision:
    """Decide for a front end's own task (a title, tags): the `always` adapters alone, or `otherwise` without any.

    No expert is needed for a title, and none may be opened by what the embedded chat says.
    """
    decision = decide(policy, NOTHING_SCORED, policy.always() or None)
    silent = (Reason.NOT_ASKED, Reason.BELOW)
    return replace(
        decision,
        reason=Reason.CHORE,
        verdicts=tuple(replace(v, reason=Reason.CHORE) if v.reason in silent else v for v in decision.verdicts),
        lasts=False,
    )


def open_gates(policy: Policy, scores: Scores) -> list[Adapter]:
    """Return the adapters whose gate opened, best score first, ties by name.

    Nothing else in the scores decides who speaks: what is equal here, for equal `asked`, has an equal blend.
    """
    if scores.out_of_domain:
        return []
    passed = []
    for adapter in policy.unasked:
        if isinstance(adapter.when, WhenLabel):
            score = scores.values.get(adapter.when.label)
            if score is not None and score >= adapter.when.at_least:
                passed.append((-score, adapter.name, adapter))
    return [adapter for _, _, adapter in sorted(passed, key=lambda entry: entry[:2])]


def _named(policy: Policy, asked: frozenset[str]) -> frozenset[str]:
    """Return `asked`, or refuse what this caller may not name or what excludes itself."""
    known = {name: adapter for name in asked if (adapter := policy.find(name)) is not None}
    if not asked or len(known) < len(asked):
        wrong = f"no adapter is called {_listed(asked - known.keys())}" if asked else "no adapter was named"
        raise UnknownMode(f"{wrong}; you may ask for {_listed(policy.askable())}")
    if barred := [name for name in asked if not policy.permits(known[name])]:
        raise Forbidden(f"you may not ask for {_listed(barred)}; you may ask for {_listed(policy.askable())}")
    if len(asked) > 1 and (isolated := min((name for name in asked if known[name].alone), default=None)):
        raise Contradiction(
            f"{isolated} speaks alone and cannot be combined with {_listed(asked - {isolated})}; "
            f"ask for {isolated} by itself, or for the others"
        )
    joining = [name for name in asked if not isinstance(known[name].when, Always)]
    if len(joining) > policy.at_most:
        raise Contradiction(
            f"{_listed(joining)} are {len(joining)} adapters; at most {policy.at_most} may speak together"
        )
    return asked


def _verdicts(
    policy: Policy,
    speaking: frozenset[str],
    opened: frozenset[str],
    reason: Reason,
    scores: Scores,
    isolates: bool,
) -> Iterator[Verdict]:
    """Say what became of every adapter that spoke or could have without being named, and why.

    One plain loop: this is the hot part of a decision. `told_of_all` adds those that nobody named.
    """
    values = scores.values
    shut = Reason.OUT_OF_DOMAIN if scores.out_of_domain else Reason.BELOW
    outranked = Reason.ISOLATED if isolates else Reason.CROWDED_OUT
    if reason is Reason.ASKED:
        shut = outranked = Reason.NOT_ASKED
    asked = (policy.adapter(name) for name in speaking if isinstance(policy.adapter(name).when, WhenAsked))
    for adapter in sorted((*policy.unasked, *asked), key=_name):
        name, when = adapter.name, adapter.when
        speaks = name in speaking
        if isinstance(when, WhenLabel):
            why = reason if speaks else outranked if name in opened else shut
            yield Verdict(name, speaks, why, adapter.weight, when.label, values.get(when.label), when.at_least)
        elif isinstance(when, Always):  # only isolation silences it
            yield Verdict(name, speaks, Reason.ALWAYS if speaks else Reason.ISOLATED, adapter.weight)
        else:
            yield Verdict(name, True, reason, adapter.weight)


def told_of_all(policy: Policy, decision: Decision) -> tuple[Verdict, ...]:
    """Return the decision's verdicts with those of the adapters that nobody named, sorted by name.

    A decision leaves them out: there may be thousands, and all it could say of them is that nobody named them.
    """
    why = Reason.CHORE if decision.reason is Reason.CHORE else Reason.NOT_ASKED
    known = {verdict.adapter: verdict for verdict in decision.verdicts}
    return tuple(known.get(a.name) or Verdict(a.name, False, why, a.weight) for a in policy.adapters)


def _listed(names: Collection[str]) -> str:
    """Return names for a person, in an order that does not depend on hashing."""
    return ", ".join(sorted(names)) or "nothing"
