"""Two encoders as one: their vectors side by side. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from classifiers.encoders.protocol import Encoder, Vectors


class JoinedEncoder:
    """`a+b`: both unit vectors at length 1 / sqrt(2), so that a cosine is the mean of the two cosines."""

    def __init__(self, *parts: Encoder) -> None:
        self._parts = parts
        self.id = "+".join(part.id for part in parts)
        self.spec = "+".join(part.spec for part in parts)
        self.dim = sum(part.dim for part in parts)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See `Encoder.encode`."""
        scale = np.float32(len(self._parts) ** -0.5)
        return np.concatenate([part.encode(texts) * scale for part in self._parts], axis=1)
