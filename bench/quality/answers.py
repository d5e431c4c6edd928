"""What a contender answered, and the figures that follow from it. Knows no contender."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifiers import Row
from classifiers.evaluate import ALL
from classifiers.evaluate import by_language as all_first
from classifiers.metrics import (
    accuracy,
    auroc,
    coverage_at,
    expected_calibration_error,
    label_figures,
    reliability,
    risk_coverage,
)

RISKS = (0.05, 0.1)
POINTS = 100  # of a curve that is kept
NO_ROUTE = ""  # stands for None among labels
Figures = dict[str, Any]


@dataclass(frozen=True)
class Answers:
    """One answer per text, all of length n.

    `labels` may hold None: no route. `confidence` in [0, 1] is in that label; `outside` is larger the less the
    text seems to belong to any label, on a scale of its own. `microseconds` is the median time per text, one
    after the other, without the encoder: a busy machine moves it less than the mean.
    """

    labels: tuple[str | None, ...]
    confidence: NDArray[np.float64]
    outside: NDArray[np.float64]
    microseconds: float

    def take(self, rows: Sequence[int]) -> Answers:
        """The answers to some of the texts."""
        chosen = list(rows)
        return Answers(
            tuple(self.labels[row] for row in chosen),
            self.confidence[chosen],
            self.outside[chosen],
            self.microseconds,
        )


def by_language(rows: Sequence[Row]) -> dict[str, list[int]]:
    """Places of the rows of each language, in alphabetical order, and of all."""
    groups = all_first(rows)
    groups[ALL] = groups.pop(ALL)
    return groups


def right(rows: Sequence[Row], answers: Answers) -> NDArray[np.bool_]:
    """Which answers carry the row's label, shape (n,)."""
    return np.array([row.label == label for row, label in zip(rows, answers.labels, strict=True)], dtype=bool)


def summary(rows: Sequence[Row], answers: Answers) -> dict[str, Figures]:
    """The main figures by language; "no route" counts as wrong, with confidence 0."""
    return {
        lang: _figures([rows[at] for at in places], answers.take(places))
        for lang, places in by_language(rows).items()
    }


def _figures(rows: Sequence[Row], answers: Answers) -> Figures:
    truth = [row.label for row in rows]
    guessed = [NO_ROUTE if label is None else label for label in answers.labels]
    correct = right(rows, answers)
    curve = risk_coverage(answers.confidence, correct)
    found: Figures = {
        "rows": len(rows),
        "accuracy": accuracy(truth, guessed),
        "macro_f1": macro_f1(truth, guessed),
        "ece": expected_calibration_error(answers.confidence, correct),
        "no_route": sum(label == NO_ROUTE for label in guessed) / len(guessed),
        "area": curve["area"],
    }
    return found | {f"coverage_at_{100 * risk:g}": coverage_at(curve, risk) for risk in RISKS}


def macro_f1(truth: Sequence[str], guessed: Sequence[str]) -> float:
    """Mean F1 over the labels that the rows truly carry: "no route" is no label, and costs recall only."""
    found = label_figures(truth, guessed)
    carried = sorted(set(truth))
    return sum(found[label]["f1"] for label in carried) / len(carried)


def details(rows: Sequence[Row], answers: Answers, labels: Sequence[str]) -> dict[str, Figures]:
    """What the page shows of one classifier alone, by language: labels, confusion, reliability, the curve.

    `confusion[i][j]` counts rows of label i that were called label j.
    """
    found = {}
    place = {label: at for at, label in enumerate(labels)}
    for lang, places in by_language(rows).items():
        members, answered = [rows[at] for at in places], answers.take(places)
        correct = right(members, answered)
        confusion = np.zeros((len(labels), len(labels)), dtype=int)
        for row, label in zip(members, answered.labels, strict=True):
            if label is not None:
                confusion[place[row.label], place[label]] += 1
        found[lang] = {
            "labels": label_figures(
                [row.label for row in members], [label or NO_ROUTE for label in answered.labels]
            ),
            "confusion": confusion.tolist(),
            "reliability": reliability(answered.confidence, correct),
            "curve": _thinned(answered.confidence, correct),
        }
    return found


def _thinned(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> list[list[float]]:
    """About `POINTS` pairs (coverage, risk) of the curve."""
    curve = risk_coverage(confidence, correct)
    places = np.unique(np.linspace(0, len(curve["coverage"]) - 1, POINTS).astype(int))
    return [[curve["coverage"][at], curve["risk"][at]] for at in places]


def outsiders(rows: Sequence[Row], answers: Answers, unknown: Collection[str]) -> dict[str, float]:
    """AUROC by language, and over all: do rows of `unknown` labels seem more outside than the others?

    A language that has rows on one side only is not given.
    """
    found = {}
    strange = np.array([row.label in unknown for row in rows], dtype=bool)
    for lang, places in by_language(rows).items():
        outside, away = answers.outside[places], strange[places]
        if away.any() and not away.all():
            found[lang] = auroc(outside[away], outside[~away])
    return found


def recall_at(known: NDArray[np.float64], strange: NDArray[np.float64], kept: float = 0.95) -> float:
    """The share of strangers above the threshold that keeps at least the share `kept` of what belongs."""
    threshold = np.quantile(known, kept, method="higher")
    return float((strange > threshold).mean())
