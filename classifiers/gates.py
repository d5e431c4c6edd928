"""Gates by label, from strict to lenient, and which rows they route. Knows no text, no head and no statistics.

A gate lies above one half. Two scores of one text cannot both do so, hence at most one gate opens, "the wrong
domain" has one meaning whatever a policy's `at_most` says, and taking other labels' adapters away opens nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classifiers.head import Matrix

LEAST = 0.501
DIGITS = 3  # a gate is tested as it will be pasted
# Odds of being right at the gate, as logarithms: 0.9975 down to 0.27.
LEVELS = np.round(np.arange(6.0, -1.01, -0.1), 1)
_NEVER_SURE = 1e-6


@dataclass(frozen=True)
class Judged:
    """Scored rows with the truth, each array of shape (n,).

    `best` is the column of the best score, `score` that score, `open` whether its label opens a domain at all
    and the text is not out of domain, `right` whether the row carries it, `langs` the language.
    """

    best: NDArray[np.intp]
    score: NDArray[np.float64]
    open: NDArray[np.bool_]
    right: NDArray[np.bool_]
    langs: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.best)

    def take(self, index: NDArray[np.intp]) -> Judged:
        """The rows at `index`, which may name a row more than once."""
        return Judged(self.best[index], self.score[index], self.open[index], self.right[index], self.langs[index])


def judge(
    scores: Matrix,
    inside: NDArray[np.bool_],
    truth: Sequence[str],
    langs: Sequence[str],
    labels: Sequence[str],
    ignored: Collection[str] = (),
) -> Judged:
    """Compare scores of shape (n, labels) with the truth. `ignored` labels open no domain; `inside` is (n,)."""
    names = np.array(labels)
    best = scores.argmax(axis=1)
    return Judged(
        best=best,
        score=scores[np.arange(len(best)), best],
        open=inside & ~np.isin(names[best], list(ignored)),
        right=names[best] == np.array(truth),
        langs=np.array(langs),
    )


@dataclass(frozen=True)
class Ladder:
    """Gates of shape (steps, labels), strict first: no gate rises from one step to the next.

    `levels`, shape (steps,), is how likely a text at the gates of a step is right, by the rows that laid them.
    """

    levels: NDArray[np.float64]
    gates: Matrix

    def __len__(self) -> int:
        return len(self.levels)


def fit_ladder(rows: Judged, labels: int) -> Ladder:
    """Lay a ladder of gates for `labels` columns by rows that no gate will be tested on.

    At each step every label's gate lies where a text at the gate is right with the same probability: of all
    gates with as few wrong texts, those route the most (the Neyman-Pearson lemma). That probability is a logistic
    regression on the score's log odds with an intercept per label, as Platt scaling has it. Where the rows do
    not bear one (all right, all wrong, or less right at higher scores), the gate is one score for all labels.
    """
    log_odds = np.log(rows.score) - np.log1p(-np.minimum(rows.score, 1 - _NEVER_SURE))
    slope, shift = _fit(log_odds[rows.open], rows.best[rows.open], rows.right[rows.open], labels)
    gates = _sigmoid((LEVELS[:, None] - shift) / slope)
    unit = 10.0**DIGITS
    gates = np.clip(np.ceil(gates * unit) / unit, LEAST, 1.0)
    keep = np.append(True, (np.diff(gates, axis=0) != 0).any(axis=1))
    return Ladder(_sigmoid(LEVELS[keep]), gates[keep])


def first_steps(rows: Judged, ladder: Ladder) -> NDArray[np.intp]:
    """The first step that routes each row, shape (n,); the number of steps for a row that none routes."""
    opened = (rows.score >= ladder.gates[:, rows.best]) & rows.open
    return np.where(opened.any(axis=0), opened.argmax(axis=0), len(ladder))


def _sigmoid(log_odds: Matrix) -> Matrix:
    odds: Matrix = 1 / (1 + np.exp(-log_odds))
    return odds


def _fit(
    log_odds: Matrix, best: NDArray[np.intp], right: NDArray[np.bool_], labels: int
) -> tuple[float, NDArray[np.float64]]:
    if right.all() or not right.any():
        return 1.0, np.zeros(labels)
    from sklearn.linear_model import LogisticRegression  # not at the top: no server needs it, and it is 70 MB

    features = np.column_stack([log_odds, np.eye(labels)[best]])
    regression = LogisticRegression(max_iter=1000).fit(features, right)
    slope, shift = float(regression.coef_[0, 0]), regression.coef_[0, 1:] + regression.intercept_[0]
    return (slope, shift) if slope > 0 else (1.0, np.zeros(labels))
