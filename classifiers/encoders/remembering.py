"""An encoder that encodes no text twice. Knows no model: another encoder does the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from classifiers.encoders.protocol import Encoder, Vectors


class RememberingEncoder:
    """Wraps an encoder; `known` are texts whose vectors it has already made. Grows without bound: for one job."""

    def __init__(self, encoder: Encoder, known: Mapping[str, NDArray[np.float32]]) -> None:
        self._encoder = encoder
        self._known = dict(known)

    @property
    def id(self) -> str:
        """The wrapped encoder's."""
        return self._encoder.id

    @property
    def spec(self) -> str:
        """The wrapped encoder's."""
        return self._encoder.spec

    @property
    def dim(self) -> int:
        """The wrapped encoder's."""
        return self._encoder.dim

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode the texts that are new, and return all."""
        for text in texts:
            if text not in self._known:
                self._known[text] = self._encoder.encode([text])[0]
        return np.stack([self._known[text] for text in texts])
