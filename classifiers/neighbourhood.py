"""The exemplars around a vector, and how near they are. Knows no text and no encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classifiers.encoders import Vectors

NEAREST = 3  # how many exemplars the similarity is averaged over

Folds = Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]


@dataclass(frozen=True)
class Neighbourhood:
    """Exemplar vectors of shape (n, dim), and over how many of the nearest a similarity is averaged."""

    vectors: Vectors
    nearest: int = NEAREST

    def cosines(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cosine to every exemplar, shape (n,)."""
        # Not `@`: that wakes a pool of BLAS threads, and on a busy machine one product then took 8 ms instead
        # of 0.2.
        cosines: NDArray[np.float32] = np.vecdot(self.vectors, vector)
        return cosines

    def similarity(self, cosines: NDArray[np.float32]) -> float:
        """Mean of the `nearest` largest cosines."""
        return float(np.partition(cosines, -self.nearest)[-self.nearest :].mean())


def held_out_similarities(around: Neighbourhood, folds: Folds) -> NDArray[np.float64]:
    """The similarity of each exemplar to those of the other folds, shape (n,)."""
    vectors = around.vectors
    similarities = np.empty(len(vectors))
    for inside, outside in folds:
        cosines = vectors[outside] @ vectors[inside].T
        similarities[outside] = [around.similarity(row) for row in cosines]
    return similarities
