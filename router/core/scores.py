"""What a classifier says about a subject, in the router's own words. Knows no classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An exemplar near the subject: its text, its label, and the cosine similarity in [-1, 1]."""

    text: str
    label: str
    similarity: float

    @property
    def distance(self) -> float:
        """The cosine distance, in [0, 2]: 0 is the same direction."""
        return max(0.0, 1.0 - self.similarity)


@dataclass(frozen=True, slots=True)
class Scores:
    """Calibrated probabilities by label, which sum to 1, or nothing at all for an empty subject.

    `out_of_domain` says that the subject is unlike everything the classifier was taught: then no gate opens.
    `nearest` are the exemplars around the subject, nearest first, where the classifier told them along: they
    explain, and decide nothing.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    out_of_domain: bool = False
    nearest: tuple[Neighbour, ...] | None = None

    @property
    def label(self) -> str | None:
        """The label with the highest score (ties by name); None without scores or out of domain."""
        if self.out_of_domain or not self.values:
            return None
        return min(self.values, key=lambda label: (-self.values[label], label))


NOTHING_SCORED = Scores(nearest=())
