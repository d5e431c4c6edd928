"""What every encoder is. Knows no implementation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Encoder(Protocol):
    """Text -> unit vectors. The same text gives the same vector whatever else is encoded beside it.

    Safe to call from several threads at once: training and the service both do.
    """

    @property
    def id(self) -> str:
        """Stable fingerprint of what shapes the vectors: kind, text bound, sha256 of weights and tokenizer."""

    @property
    def spec(self) -> str:
        """The specification that `open_encoder` opens it by again."""

    @property
    def dim(self) -> int:
        """Length of one vector."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode `n` texts; float32 of shape (n, dim), rows of L2 norm 1. Any string is accepted."""
