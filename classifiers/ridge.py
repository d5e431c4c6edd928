"""Fits the head: kernel ridge regression on the exemplars, and the link on guesses for what a fit had not seen.

Kernel ridge regression minimises squared error over all functions of the kernel in closed form (Saunders,
Gammerman, Vovk 1998, "Ridge Regression Learning Algorithm in Dual Variables", ICML). Knows no text and no file.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifiers.encoders import Vectors
from classifiers.head import Matrix, kernel, link
from classifiers.neighbourhood import Folds
from classifiers.progress import Progress

BANDWIDTH, RIDGE = 0.5, 0.3  # chosen on sources left out, see docs/adr/0009
_SHARPNESS, _POWER = (0.5, 200.0), (0.1, 20.0)  # limits: guesses that are never wrong would ask for infinity


class Fit(NamedTuple):
    """Weights of shape (labels, n) on all rows, and guesses of shape (n, labels) by fits that left the row out."""

    weights: NDArray[np.float32]
    held_out: Matrix


class Link(NamedTuple):
    """The link's two numbers and the log loss (nats) that remains on the guesses they were fitted on."""

    sharpness: float
    power: float
    loss: float


def fit(vectors: Vectors, targets: NDArray[np.intp], folds: Folds, progress: Progress) -> Fit:
    """Fit on all rows and on each fold's; `targets` of shape (n,) number the labels.

    Labels weigh the same however many rows each has. Takes 4 n^2 bytes for the kernel and nearly as much again
    for its factor, and n^3 operations: 2,500 rows are done in a second, 10,000 in a quarter of a minute.
    """
    gram = kernel(vectors @ vectors.T, BANDWIDTH)
    labels = int(targets.max()) + 1
    held_out = np.empty((len(targets), labels))
    for done, (inside, outside) in enumerate(folds, 1):
        weights = solve(gram[np.ix_(inside, inside)], targets[inside], labels)
        held_out[outside] = gram[np.ix_(outside, inside)] @ weights.T
        progress("cross-validating", done, len(folds) + 1)
    weights = solve(gram, targets, labels)
    progress("cross-validating", len(folds) + 1, len(folds) + 1)
    return Fit(weights, held_out)


def solve(gram: NDArray[np.float32], targets: NDArray[np.intp], labels: int) -> NDArray[np.float32]:
    """Dual coefficients of shape (labels, n) for a kernel matrix of shape (n, n), which is overwritten.

    The target of a row is 1 for its label and 0 for the others, both less 1 / labels.
    """
    from scipy.linalg import cho_factor, cho_solve  # not at the top: no server needs scipy

    counts = np.bincount(targets, minlength=labels)
    wanted = np.full((len(targets), labels), -1 / labels, dtype=np.float32)
    wanted[np.arange(len(targets)), targets] += 1
    # a row of weight w counts w times in the squared error: its share of the ridge is 1 / w
    weight = counts.mean() / counts[targets]
    gram[np.diag_indices_from(gram)] += (RIDGE / weight).astype(np.float32)
    # float32: no eigenvalue is below RIDGE / weight nor above n, which leaves three digits and more
    # LAPACK writes columns: the transpose of a symmetric matrix is one that it need not copy
    factor = cho_factor(gram.T, lower=True, overwrite_a=True, check_finite=False)
    return np.ascontiguousarray(cho_solve(factor, wanted, check_finite=False).T)


def fit_link(guesses: Matrix, targets: NDArray[np.intp]) -> Link:
    """The link with the least log loss on held-out guesses of shape (n, labels)."""
    from scipy.optimize import minimize

    def loss(logs: Matrix) -> float:
        return log_loss(link(guesses, *np.exp(logs)), targets)

    found = minimize(
        loss,
        np.log([10.0, 2.0]),
        method="Nelder-Mead",
        bounds=[tuple(np.log(_SHARPNESS)), tuple(np.log(_POWER))],
        options={"xatol": 1e-4, "fatol": 1e-7},
    )
    sharpness, power = np.exp(found.x).tolist()
    return Link(sharpness, power, float(found.fun))


def log_loss(scores: Matrix, targets: NDArray[np.intp]) -> float:
    """Mean negative log-likelihood (nats) of the target columns."""
    return float(-np.log(np.maximum(scores[np.arange(len(targets)), targets], 1e-300)).mean())
