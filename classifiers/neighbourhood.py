"""The exemplars around a vector, and how near they are. Knows no text and no encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classifiers.encoders import Vectors

NEAREST = 3  # how many exemplars the similarity is averaged over

Codes = NDArray[np.int8]
Folds = Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]


@dataclass(frozen=True)
class Neighbourhood:
    """Exemplars as `codes` of shape (n, dim), and over how many of the nearest a similarity is averaged.

    An exemplar is the direction of its code, a row of numbers of 8 bits, the largest of which is 127: what it was
    before it was rounded is nowhere needed, since fits, folds and predictions all see it as it is kept.
    """

    codes: Codes
    nearest: int = NEAREST

    @property
    def vectors(self) -> Vectors:
        """The exemplars as unit vectors, shape (n, dim); worked out anew each time."""
        return directions(self.codes)

    def similarity(self, largest_cosines: NDArray[np.float32]) -> float:
        """Mean of the `nearest` first ones; the largest cosines come largest first."""
        return float(largest_cosines[: self.nearest].mean())


def rounded(vectors: Vectors) -> Codes:
    """Codes of vectors, shape kept; a zero row stays zero. The direction of a code has that very code again."""
    largest = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), np.float32(1e-30))
    codes: Codes = np.rint(vectors * (np.float32(127) / largest)).astype(np.int8)
    return codes


def directions(codes: Codes) -> Vectors:
    """Unit vectors of codes, float32, shape kept; a zero row stays zero."""
    numbers = codes.astype(np.float32)
    numbers /= np.maximum(lengths(codes), np.float32(1))[:, np.newaxis]
    return numbers


def lengths(codes: Codes) -> NDArray[np.float32]:
    """Euclidean lengths of the rows, shape (n,)."""
    found: NDArray[np.float32] = np.sqrt(np.square(codes.astype(np.float32)).sum(axis=1))
    return found


def held_out_similarities(around: Neighbourhood, folds: Folds) -> NDArray[np.float64]:
    """The similarity of each exemplar to those of the other folds, shape (n,)."""
    vectors = around.vectors
    similarities = np.empty(len(vectors))
    for inside, outside in folds:
        cosines = vectors[outside] @ vectors[inside].T
        similarities[outside] = np.partition(cosines, -around.nearest, axis=1)[:, -around.nearest :].mean(axis=1)
    return similarities
