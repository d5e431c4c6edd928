"""Cosines to the exemplars -> calibrated probabilities. Knows no text, no encoder and no fitting.

A kernel ridge regression guesses how much likelier than chance each label is, as a weighted sum over the
exemplars of exp((cosine - 1) / bandwidth): a Gaussian kernel, since |x - y|^2 = 2 - 2 cos on the unit sphere.
Probabilities are in proportion to softplus(sharpness x guess) ^ power: a guess below chance nearly vanishes, and
the order of the labels stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """What a prediction needs beside the exemplars' vectors.

    `labels` are sorted; `weights` (dual coefficients) are float32 of shape (labels, exemplars), C-contiguous.
    """

    labels: tuple[str, ...]
    weights: NDArray[np.float32]
    bandwidth: float
    sharpness: float
    power: float

    def probabilities(self, guesses: NDArray[np.float32]) -> Matrix:
        """Calibrated probabilities from the regression's guesses, both of shape (labels,)."""
        return link(guesses.astype(np.float64), self.sharpness, self.power)


def kernel(cosines: NDArray[np.float32], bandwidth: float) -> NDArray[np.float32]:
    """exp((cosine - 1) / bandwidth), in (0, 1], shape kept."""
    # in place: of a training's matrix there need be no second one
    values = cosines - np.float32(1)
    values /= np.float32(bandwidth)
    weights: NDArray[np.float32] = np.exp(values, out=values)
    return weights


def link(guesses: Matrix, sharpness: float, power: float) -> Matrix:
    """Probabilities over the last axis, in proportion to softplus(sharpness x guess) ^ power; shape kept."""
    logits = power * log_softplus(sharpness * guesses)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores: Matrix = powers / powers.sum(axis=-1, keepdims=True)
    return scores


def log_softplus(values: Matrix) -> Matrix:
    """log(log(1 + exp(value))) without overflow: for values far below zero it is the value itself."""
    logs: Matrix = np.where(values < -30, values, np.log(np.logaddexp(0, np.maximum(values, -30))))
    return logs
