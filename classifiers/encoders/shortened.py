"""An encoder whose vectors are shortened to the axes that the exemplars need. Knows no model and no label.

Cosines to all exemplars are most of what a prediction costs beside its embedding, and the last axes say next to
nothing: shortened vectors are compared in a fraction of the time, at the same accuracy (docs/adr/0009).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from classifiers.encoders.protocol import Encoder, Vectors

AXES = 256
FEWEST = 2_000  # vectors from which axes are taken: fewer are compared quickly as they are, and leave axes unseen


class ShortenedEncoder:
    """Wraps an encoder; `axes` of shape (dim of a vector, dim of the wrapped encoder), orthonormal rows."""

    def __init__(self, whole: Encoder, axes: NDArray[np.float32]) -> None:
        self.whole, self.axes = whole, np.ascontiguousarray(axes)
        self.dim = len(axes)
        self.id = f"{whole.id}/{self.dim}:{hashlib.sha256(self.axes.tobytes()).hexdigest()[:16]}"

    @property
    def spec(self) -> str:
        """The wrapped encoder's."""
        return self.whole.spec

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See `Encoder.encode`."""
        return self.shorten(self.whole.encode(texts))

    def shorten(self, vectors: Vectors) -> Vectors:
        """Unit vectors of shape (n, dim) from the wrapped encoder's; a zero row stays zero."""
        # vecdot, not `@`: a row's rounding must not depend on how many there are
        shorter = np.vecdot(self.axes, vectors[:, np.newaxis, :])
        norms = np.linalg.norm(shorter, axis=1, keepdims=True)
        scaled: Vectors = shorter / np.maximum(norms, np.float32(1e-12))
        return scaled


def shortened(encoder: Encoder, vectors: Vectors) -> ShortenedEncoder | None:
    """Keep the `AXES` principal axes (uncentred) of these vectors; None where it would not pay."""
    if encoder.dim <= AXES or len(vectors) < FEWEST:
        return None
    moments = vectors.astype(np.float64)
    _, axes = np.linalg.eigh(moments.T @ moments)
    return ShortenedEncoder(encoder, axes[:, : -AXES - 1 : -1].T.astype(np.float32))
