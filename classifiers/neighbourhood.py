"""The exemplars around a vector: how near, and whether any is near enough. Knows no text and no encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classifiers.encoders import Vectors

NEAREST = 3  # how many exemplars the similarity is averaged over
KEPT = 0.97  # share of exemplars that must count as in domain when each is judged by exemplars of other topics

Folds = Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]


@dataclass(frozen=True)
class Neighbourhood:
    """Exemplar vectors of shape (n, dim). A text whose `similarity` is below `threshold` is out of domain."""

    vectors: Vectors
    threshold: float
    nearest: int = NEAREST

    def cosines(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cosine to every exemplar, shape (n,)."""
        # Not `@`: that wakes a pool of BLAS threads, and on a busy machine one product then took 8 ms instead
        # of 0.2.
        cosines: NDArray[np.float32] = np.vecdot(self.vectors, vector)
        return cosines

    def similarity(self, cosines: NDArray[np.float32]) -> float:
        """Mean of the largest `nearest` cosines."""
        return similarity(cosines, self.nearest)


def similarity(cosines: NDArray[np.float32], nearest: int) -> float:
    """Mean of the `nearest` largest cosines."""
    return float(np.partition(cosines, -nearest)[-nearest:].mean())


def fit_neighbourhood(
    vectors: Vectors, folds: Folds, nearest: int = NEAREST, kept: float = KEPT
) -> tuple[Neighbourhood, NDArray[np.float64]]:
    """Choose the threshold so that the share `kept` of exemplars is in domain, each judged by the other folds
    only; return the similarities by which it was judged too, shape (n,).

    No text from outside the domain is needed, and none is pretended: the threshold bounds the false alarms on
    texts like the exemplars and says nothing about how many strangers are caught. Measure that with
    `evaluate`.
    """
    nearest = min(nearest, *(len(inside) for inside, _ in folds))
    similarities = np.empty(len(vectors))
    for inside, outside in folds:
        cosines = vectors[outside] @ vectors[inside].T
        similarities[outside] = [similarity(row, nearest) for row in cosines]
    threshold = float(np.quantile(similarities, 1.0 - kept, method="lower"))
    return Neighbourhood(vectors, threshold, nearest), similarities
