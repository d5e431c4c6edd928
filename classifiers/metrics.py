"""Accuracy, macro-F1, calibration error, precision and recall by label, AUROC, risk and coverage. Numbers only."""

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
    found = reliability(confidences, correct, bins)
    rows = max(1, len(confidences))
    return sum(one["rows"] / rows * abs(one["accuracy"] - one["confidence"]) for one in found)


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


class ReliabilityBin(TypedDict):
    """The texts whose confidence fell into one bin: how many, their mean confidence, the share that was right."""

    rows: int
    confidence: float
    accuracy: float


def reliability(
    confidences: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> list[ReliabilityBin]:
    """What `expected_calibration_error` adds up, bin by bin; an empty bin is all zeros. Arguments as there."""
    index = np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for one in range(bins):
        inside = index == one
        rows = int(inside.sum())
        found.append(
            ReliabilityBin(
                rows=rows,
                confidence=float(confidences[inside].mean()) if rows else 0.0,
                accuracy=float(correct[inside].mean()) if rows else 0.0,
            )
        )
    return found


def auroc(outside: NDArray[np.float64], inside: NDArray[np.float64]) -> float:
    """Area under the ROC curve: how often one of `outside` scores above one of `inside`, ties counting half.

    Shapes (n,) and (m,). The Mann-Whitney statistic (Fawcett 2006, "An introduction to ROC analysis", Pattern
    Recognition Letters 27). Raises ValueError when either is empty.
    """
    if len(outside) == 0 or len(inside) == 0:
        raise ValueError("AUROC needs scores on both sides")
    ordered = np.sort(inside)
    below = np.searchsorted(ordered, outside, side="left")
    up_to = np.searchsorted(ordered, outside, side="right")
    return float((below + up_to).sum() / (2 * len(outside) * len(inside)))


class RiskCoverage(TypedDict):
    """The trade of answering less for being wrong less: one point per distinct confidence, from strict to lenient.

    `coverage` and `risk` are shares in [0, 1]; `area` under the curve is 0 for a classifier that is never wrong.
    """

    coverage: list[float]
    risk: list[float]
    area: float


def risk_coverage(confidences: NDArray[np.float64], correct: NDArray[np.bool_]) -> RiskCoverage:
    """Answer only what is at least so confident: which share is that, and which share of it is wrong?

    Texts of equal confidence are answered together. The area is the mean over texts of the risk at which each
    enters (Geifman, El-Yaniv 2017, "Selective Classification for Deep Neural Networks", NeurIPS). Both arguments
    have shape (n,).
    """
    if len(confidences) == 0:
        return RiskCoverage(coverage=[], risk=[], area=0.0)
    order = np.argsort(-confidences, kind="stable")
    wrong = np.cumsum(~correct[order])
    last = np.flatnonzero(np.append(np.diff(confidences[order]) != 0, True))  # the last text of each confidence
    answered = last + 1
    risk = wrong[last] / answered
    area = float((np.diff(answered, prepend=0) * risk).sum() / len(order))
    return RiskCoverage(coverage=(answered / len(order)).tolist(), risk=risk.tolist(), area=area)


def coverage_at(curve: RiskCoverage, risk: float) -> float:
    """The largest coverage of a curve whose risk is at most `risk`; 0 where no point is."""
    return max((c for c, r in zip(curve["coverage"], curve["risk"], strict=True) if r <= risk), default=0.0)
