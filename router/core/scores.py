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


@dataclass(frozen=True, slots=True)
class Scores:
    """Calibrated probabilities by label, which sum to 1, or nothing at all for an empty subject.

    `out_of_domain` says that the subject is unlike everything the classifier was taught: then no gate opens.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    out_of_domain: bool = False

    @property
    def label(self) -> str | None:
        """The label with the highest score (ties by name); None without scores or out of domain."""
        if self.out_of_domain or not self.values:
            return None
        return min(self.values, key=lambda label: (-self.values[label], label))


NOTHING_SCORED = Scores()
