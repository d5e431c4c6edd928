"""Recorded decisions taken again by another policy, with the `decide` of requests. Pure; knows no file.

What is replayed is `decide`: scores and asked adapters are those of the record. How a text was read (aliases, the
switcher) and scored is not done again, for there is no text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from router.core.blend import Blend
from router.core.decide import decide, decide_chore, open_gates
from router.core.errors import Refused
from router.core.policy import Policies, Policy
from router.core.recorded import Recorded

_MOST_KEPT = 50_000  # outcomes at once, some 20 MB; a log of any length is replayed in bounded memory


class Change(StrEnum):
    """What another policy makes of a decision, the gravest first."""

    ISOLATION_ENDS = "isolation_ends"  # somebody spoke alone; now others may speak, the core among them
    ISOLATION_BEGINS = "isolation_begins"  # others could speak; now somebody speaks alone
    REFUSED = "refused"  # there was an answer; now there is an error
    CHANGED = "changed"  # other adapters, or other weights
    REBUILT = "rebuilt"  # the same adapters and weights, from another base, source or merge method
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The error that a caller would get: its code and its message."""

    code: str
    message: str


Answer = Blend | Refusal


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """What becomes of the decisions for one blend. `core_joins`: the `always` adapters that did not speak before.

    Compared by identity: a `Replay` makes one for each outcome, so that millions of them are counted cheaply.
    """

    before: Blend
    answer: Answer
    change: Change
    core_joins: tuple[str, ...] = ()


class Replay:
    """Takes recorded decisions again with `policies`.

    `decide` runs once for each caller, ask, ranking of open gates and blend that was recorded, and its outcome is
    kept: the first three decide who speaks (`open_gates` says so, and a test holds all other scores against it),
    and a log repeats them.
    """

    def __init__(self, policies: Policies) -> None:
        self.policies = policies
        self._kept: dict[tuple[object, ...], Replayed] = {}
        self._distinct: dict[tuple[Blend, Answer, tuple[str, ...]], Replayed] = {}

    def again(self, recorded: Recorded) -> Replayed:
        """Take one decision again and say what changes."""
        _, tenant, role, _, scores, asked, before, _, _, chore = recorded
        policy = self.policies.profiles.get((tenant, role))
        gates = []
        if policy is not None and asked is None:
            gates = [adapter.name for adapter in open_gates(policy, scores)]
        key = (tenant, role, asked, chore, *gates, before.id, before.alone, before.members)
        replayed = self._kept.get(key)
        if replayed is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            replayed = self._kept[key] = self._decided(recorded, policy)
        return replayed

    def _decided(self, recorded: Recorded, policy: Policy | None) -> Replayed:
        answer: Answer
        try:
            policy = policy or self.policies.profile(recorded.tenant, recorded.role)
            chore, scores, asked = recorded.chore, recorded.scores, recorded.asked
            answer = (decide_chore(policy) if chore else decide(policy, scores, asked)).blend
            joins = _joins(recorded.blend, answer, policy)
        except Refused as refusal:
            answer, joins = Refusal(refusal.code, refusal.message), ()
        outcome = Replayed(recorded.blend, answer, _change(recorded.blend, answer), joins)
        return self._distinct.setdefault((recorded.blend, answer, joins), outcome)


def _change(before: Blend, answer: Answer) -> Change:
    if isinstance(answer, Refusal):
        return Change.REFUSED
    if before.alone != answer.alone:
        return Change.ISOLATION_ENDS if before.alone else Change.ISOLATION_BEGINS
    if before.members != answer.members:
        return Change.CHANGED
    return Change.SAME if before.id == answer.id else Change.REBUILT


def _joins(before: Blend, now: Blend, policy: Policy) -> tuple[str, ...]:
    """Return the `always` adapters that speak now and did not speak before."""
    return tuple(sorted(policy.always() & now.weights.keys() - before.weights.keys()))
