"""What a classifier answers. Knows nothing of how."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prediction:
    """Scores of one text.

    `scores` holds a calibrated probability for every label, summing to 1. `similarity` is the mean cosine
    similarity to the nearest exemplars, in [-1, 1]; below the classifier's threshold the text is
    `out_of_domain`, and the scores then only say which label would be the least wrong: do not act on them. A
    text without a letter or digit is out of domain with equal scores and similarity 0.
    """

    scores: dict[str, float]
    out_of_domain: bool
    similarity: float

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
