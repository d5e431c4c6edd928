"""Scored rows from a distribution whose risk at any gate is known by arithmetic, not by counting."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from classifiers.gates import Judged, Ladder

EASY, HARD = 0.0, 0.06
LANGS: Mapping[str, float] = {"en": EASY, "ru": HARD}
"""Language -> how far below its score the chance of being right lies."""
LABELS = 3


def draw(random: np.random.Generator, rows: int, langs: Mapping[str, float] = LANGS) -> Judged:
    """Rows of `LABELS` columns, scores uniform in [0.5, 1], each right with chance score - its language's."""
    score = random.uniform(0.5, 1.0, rows)
    lang = random.choice(list(langs), rows)
    short = np.array([langs[one] for one in lang])
    return Judged(
        best=random.integers(0, LABELS, rows),
        score=score,
        open=np.ones(rows, dtype=np.bool_),
        right=random.random(rows) < score - short,
        langs=lang,
    )


def true_risk(ladder: Ladder, short: float) -> NDArray[np.float64]:
    """P(wrong | routed) at every step in a language: the mean of 1 - (score - short) over scores above the gates.

    A gate t is passed by the scores in [t, 1], of mean (1 + t) / 2, with a probability in proportion to 1 - t.
    """
    width = np.maximum(1 - ladder.gates, 1e-12)
    risk: NDArray[np.float64] = (width * (1 - (1 + ladder.gates) / 2 + short)).sum(axis=1) / width.sum(axis=1)
    return risk
