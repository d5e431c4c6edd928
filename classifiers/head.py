"""Unit vector and neighbours' evidence -> calibrated probabilities. Knows no text and no encoder.

scores = softmax((logits of a logistic regression + weight x evidence of the exemplars) / temperature). The
temperature (Guo et al. 2017, "On Calibration of Modern Neural Networks") is fitted on logits of exemplars
that the fit had not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from classifiers.encoders import Vectors

Matrix = NDArray[np.float64]
NEIGHBOUR_WEIGHT = 0.5  # chosen by cross-validation on exemplars, see docs/classifier.md


@dataclass(frozen=True)
class Head:
    """A fitted regression with its calibration, reduced to what one prediction needs: one product and one
    softmax.

    scikit-learn's `predict_proba` validates its input for longer than the arithmetic takes; `probabilities`
    is the same function without that.
    """

    regression: LogisticRegression
    temperature: float = 1.0
    neighbour_weight: float = NEIGHBOUR_WEIGHT

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """All labels, sorted."""
        return tuple(str(label) for label in self.regression.classes_)

    @cached_property
    def weights(self) -> Matrix:
        """Coefficients over temperature, shape (labels, dim)."""
        return _both_rows(np.asarray(self.regression.coef_, dtype=np.float64)) / self.temperature

    @cached_property
    def bias(self) -> Matrix:
        """Intercepts over temperature, shape (labels,)."""
        return _both_rows(np.asarray(self.regression.intercept_, dtype=np.float64)) / self.temperature

    def probabilities(self, vector: NDArray[np.float32], evidence: Matrix) -> Matrix:
        """Calibrated probabilities, shape (labels,), of one vector of shape (dim,) and its evidence (labels,)."""
        logits = (
            np.vecdot(self.weights, vector) + self.bias + (self.neighbour_weight / self.temperature) * evidence
        )
        powers = np.exp(logits - logits.max())
        scores: Matrix = powers / powers.sum()
        return scores


def fit_regression(
    vectors: Vectors, labels: NDArray[np.str_], strength: float, tolerance: float = 1e-4
) -> LogisticRegression:
    """Fit an uncalibrated regression; `strength` and `tolerance` are scikit-learn's C and tol.

    Labels weigh the same however many rows each has.
    """
    # In float64: in float32 the solver stops early, and not at the same place on every machine.
    regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=300, tol=tolerance)
    return regression.fit(vectors.astype(np.float64), labels)


def logits_of(regression: LogisticRegression, vectors: Vectors) -> Matrix:
    """Uncalibrated logits of shape (n, labels), two-class models included."""
    head = Head(regression)
    logits: Matrix = vectors.astype(np.float64) @ head.weights.T + head.bias
    return logits


def softmax(logits: Matrix) -> Matrix:
    """Row-wise softmax, shape kept."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores: Matrix = powers / powers.sum(axis=1, keepdims=True)
    return scores


def log_loss(logits: Matrix, targets: NDArray[np.intp], temperature: float = 1.0) -> float:
    """Mean negative log-likelihood (nats) of the target columns under softmax(logits / temperature)."""
    scores = softmax(logits / temperature)[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(scores, 1e-300)).mean())


def fit_temperature(logits: Matrix, targets: NDArray[np.intp]) -> float:
    """The temperature in [0.05, 20] with the least log loss on held-out logits; above 1 lowers confidence."""
    # The loss is convex in 1 / temperature, so a golden-section search cannot stop in the wrong valley.
    low, high = 1 / 20, 1 / 0.05
    step = (5**0.5 - 1) / 2
    while high - low > 1e-4 * low:
        left, right = high - step * (high - low), low + step * (high - low)
        if log_loss(logits, targets, 1 / left) <= log_loss(logits, targets, 1 / right):
            high = right
        else:
            low = left
    return 2 / (low + high)


def _both_rows(rows: Matrix) -> Matrix:
    """scikit-learn keeps one row d for two classes; sigmoid(d) is softmax([0, d])."""
    return np.concatenate([np.zeros_like(rows), rows]) if len(rows) == 1 else rows
