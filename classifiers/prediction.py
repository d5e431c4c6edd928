"""What a classifier answers. Knows nothing of how."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prediction:
    """Scores of one text.

    `scores` holds a calibrated probability for every label, summing to 1. `strangeness`, in [0, 3], is the entropy
    of the scores as a share of its maximum plus the distance (1 - cosine) to the nearest exemplars; above the
    classifier's limit the text is `out_of_domain`, and the scores then only say which label would be the least
    wrong: do not act on them. A text without a letter or digit is out of domain with equal scores.
    """

    scores: dict[str, float]
    out_of_domain: bool
    strangeness: float

    @property
    def label(self) -> str:
        """The label with the highest score."""
        return max(self.scores, key=self.scores.__getitem__)

    @property
    def confidence(self) -> float:
        """The highest score."""
        return max(self.scores.values())


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An exemplar near a text; `similarity` is their cosine, in [-1, 1]."""

    text: str
    label: str
    similarity: float
