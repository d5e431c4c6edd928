"""The exemplars around a vector, and how near they are. Knows no text and no encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classifiers.encoders import Vectors

ROWS = 32  # of the table in which the largest cosines are looked for
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

    def similarity(self, largest_cosines: NDArray[np.float32]) -> float:
        """Mean of the `nearest` first ones; the largest cosines come largest first."""
        return float(largest_cosines[: self.nearest].mean())


def largest(values: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Indices of the `count` largest values, largest first; which of equal ones, is not promised.

    Looked for among the columns of a table: the `count` largest lie in the `count` columns with the largest
    maxima, and finding those takes a fifth of the time that numpy's partition takes over all values.
    """
    columns = len(values) // ROWS
    inside = columns * ROWS
    if columns > count:
        maxima = values[:inside].reshape(ROWS, columns).max(axis=0)
        best = np.argpartition(maxima, -count)[-count:]
        cells = (best + columns * np.arange(ROWS)[:, np.newaxis]).ravel()
        found = np.sort(np.concatenate([cells, np.arange(inside, len(values))]))
    else:
        found = np.arange(len(values))
    order = np.argsort(-values[found], kind="stable")[:count]
    return found[order]


def held_out_similarities(around: Neighbourhood, folds: Folds) -> NDArray[np.float64]:
    """The similarity of each exemplar to those of the other folds, shape (n,)."""
    vectors = around.vectors
    similarities = np.empty(len(vectors))
    for inside, outside in folds:
        cosines = vectors[outside] @ vectors[inside].T
        similarities[outside] = [around.similarity(row[largest(row, around.nearest)]) for row in cosines]
    return similarities
