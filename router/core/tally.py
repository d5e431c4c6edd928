"""Replayed decisions counted: by what changes, from which blend to what, by label and by caller. Pure.

Holds no decision: a count for each combination that occurs, and a few ids as examples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar

from router.core.policy import Policies, WhenLabel
from router.core.recorded import Recorded
from router.core.replay import Change, Replayed

Caller = tuple[str, str | None]
Counts = Counter[Change]
_K = TypeVar("_K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Transition:
    """What became of the decisions for one blend: `count` of them, some by id."""

    replayed: Replayed
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unscored:
    """A gate that the log cannot open: `without` of a caller's `scored` decisions have no score for `label`."""

    caller: Caller
    adapter: str
    label: str
    without: int
    scored: int


_Kind = tuple[str, str | None, str | None, str, str, tuple[str, ...], Replayed]
"""What is counted together: tenant, role, label, policy, classifier, the scored labels, what became of it."""


@dataclass(slots=True)
class Tally:
    """Counts decisions; `most_examples` ids are kept for each change of a blend."""

    most_examples: int = 3
    _counts: dict[_Kind, int] = field(default_factory=dict)
    _examples: dict[Replayed, list[str]] = field(default_factory=dict)

    def add(self, recorded: Recorded, replayed: Replayed) -> None:
        """Count one decision."""
        ident, tenant, role, label, scores, _, _, policy, classifier, _ = recorded
        kind = (tenant, role, label, policy, classifier, tuple(scores.values), replayed)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if replayed.change is not Change.SAME:
            examples = self._examples.setdefault(replayed, [])
            if len(examples) < self.most_examples:
                examples.append(ident)

    def by_change(self) -> Counts:
        """How many decisions change in which way; every way is there."""
        return self._grouped(lambda kind: None).get(None, _none())

    def by_label(self) -> dict[str | None, Counts]:
        """The same for each label that the classifier guessed, the most frequent first."""
        return self._grouped(lambda kind: kind[2])

    def by_caller(self) -> dict[Caller, Counts]:
        """The same for each (tenant, role), the most frequent first."""
        return self._grouped(lambda kind: kind[:2])

    def by_policy(self) -> dict[str, Counts]:
        """The same for each revision that took the decisions, the most frequent first."""
        return self._grouped(lambda kind: kind[3])

    def by_classifier(self) -> dict[str, Counts]:
        """The same for each classifier that scored, by fingerprint, the most frequent first."""
        return self._grouped(lambda kind: kind[4])

    def _grouped(self, of: Callable[[_Kind], _K]) -> dict[_K, Counts]:
        groups: dict[_K, Counts] = {}
        for kind, count in self._counts.items():
            groups.setdefault(of(kind), _none())[kind[-1].change] += count
        return dict(sorted(groups.items(), key=lambda group: (-group[1].total(), str(group[0]))))

    def transitions(self) -> list[Transition]:
        """What changes, the gravest first, then the most frequent."""
        counted: Counter[Replayed] = Counter()
        for kind, count in self._counts.items():
            counted[kind[-1]] += count
        found = [
            Transition(replayed, count, tuple(self._examples[replayed]))
            for replayed, count in counted.items()
            if replayed.change is not Change.SAME
        ]
        order = list(Change)
        return sorted(
            found, key=lambda t: (order.index(t.replayed.change), -t.count, t.replayed.before.id, t.examples)
        )

    def unscored(self, policies: Policies) -> list[Unscored]:
        """The gates of `policies` for whose label some scored decision of their caller has no score."""
        found = []
        for caller, policy in policies.profiles.items():
            scored = [(kind[5], n) for kind, n in self._counts.items() if kind[:2] == caller and kind[5]]
            for adapter in policy.adapters:
                if isinstance(adapter.when, WhenLabel):
                    label = adapter.when.label
                    if without := sum(n for labels, n in scored if label not in labels):
                        found.append(Unscored(caller, adapter.name, label, without, sum(n for _, n in scored)))
        return found

    def unsteady(self, policies: Policies) -> int:
        """How many decisions come out differently by the very revision that took them, which nothing explains."""
        own = {(*caller, policy.revision) for caller, policy in policies.profiles.items()}
        return sum(
            count
            for (tenant, role, _, policy, *_, replayed), count in self._counts.items()
            if (tenant, role, policy) in own and replayed.change is not Change.SAME
        )


def _none() -> Counts:
    return Counter(dict.fromkeys(Change, 0))
