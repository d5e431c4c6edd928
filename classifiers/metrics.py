"""Accuracy, macro-F1, calibration error, per-label precision and recall. Knows numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

BINS = 15


class LabelFigures(TypedDict):
    """Figures of one label; ratios in [0, 1], `support` counts rows that truly carry it."""

    precision: float
    recall: float
    f1: float
    support: int


def expected_calibration_error(
    confidences: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> float:
    """ECE in [0, 1]: the mean gap between confidence and accuracy over equal-width bins, weighted by rows per
    bin.

    `confidences` are top-1 probabilities and `correct` says whether each top-1 label was right, both of shape
    (n,). Bin i holds confidences in ((i-1)/bins, i/bins], as in Guo, Pleiss, Sun, Weinberger 2017, "On
    Calibration of Modern Neural Networks" (ICML), section 2.
    """
    if len(confidences) == 0:
        return 0.0
    index = np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)
    error = 0.0
    for one in np.unique(index):
        inside = index == one
        error += inside.mean() * abs(correct[inside].mean() - confidences[inside].mean())
    return float(error)


def label_figures(truth: Sequence[str], predicted: Sequence[str]) -> dict[str, LabelFigures]:
    """Precision, recall, F1 and support of every label that occurs in either sequence; 0 where undefined."""
    figures: dict[str, LabelFigures] = {}
    pairs = list(zip(truth, predicted, strict=True))
    for label in sorted({*truth, *predicted}):
        hits = sum(true == label == guess for true, guess in pairs)
        guessed = sum(guess == label for _, guess in pairs)
        support = sum(true == label for true, _ in pairs)
        figures[label] = LabelFigures(
            precision=hits / guessed if guessed else 0.0,
            recall=hits / support if support else 0.0,
            f1=2 * hits / (guessed + support),
            support=support,
        )
    return figures


def macro_f1(truth: Sequence[str], predicted: Sequence[str]) -> float:
    """Unweighted mean F1 over the labels in either sequence (scikit-learn's convention); 0 for no rows."""
    figures = label_figures(truth, predicted)
    return sum(one["f1"] for one in figures.values()) / len(figures) if figures else 0.0


def accuracy(truth: Sequence[str], predicted: Sequence[str]) -> float:
    """Share of equal pairs; 0 for no rows."""
    return sum(true == guess for true, guess in zip(truth, predicted, strict=True)) / len(truth) if truth else 0.0
