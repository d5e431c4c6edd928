"""An e5 model in plain numpy and float64: slow, and the same to the last digits on every machine.

It finds the centre, which becomes part of the encoder's id, and judges the graph. Knows no file and no text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from classifiers.encoders.e5_weights import Weights

Floats = NDArray[np.float64]


class Reference:
    """The model, its linear maps unpacked once."""

    def __init__(self, weights: Weights) -> None:
        self._word = weights.q4["emb.word"]
        maps = {name: q4 for name, q4 in weights.q4.items() if name != "emb.word"}
        self._maps = {name: q4.floats().astype(np.float64) for name, q4 in maps.items()}
        self._floats = {name: value.astype(np.float64) for name, value in weights.floats.items()}
        self._shape = weights.shape

    def embed(self, texts: Sequence[Sequence[int]]) -> Floats:
        """Mean of the last layer over each text's tokens, L2 norm 1: (texts, width)."""
        floats, sizes = self._floats, [len(tokens) for tokens in texts]
        # all texts' tokens in one matrix, which is faster; only attention keeps each text to itself
        ends = np.cumsum(sizes)[:-1]
        words = self._word.floats(np.concatenate([np.array(tokens) for tokens in texts]))
        state = words + np.concatenate([floats["emb.pos"][:size] for size in sizes]) + floats["emb.type"][0]
        state = self._norm(state, "emb.ln")
        for layer in (f"l{number}" for number in range(self._shape.layers)):
            state = self._norm(
                state + self._linear(self._attention(state, layer, ends), f"{layer}.ao"), f"{layer}.aln"
            )
            inner = self._linear(state, f"{layer}.fi")
            inner = inner * 0.5 * (1 + erf(inner / np.sqrt(2)))
            state = self._norm(state + self._linear(inner, f"{layer}.fo"), f"{layer}.oln")
        return unit(np.stack([part.mean(axis=0) for part in np.split(state, ends)]))

    def _linear(self, state: Floats, name: str) -> Floats:
        mapped: Floats = state @ self._maps[f"{name}.w"].T + self._floats[f"{name}.b"]
        return mapped

    def _norm(self, state: Floats, name: str) -> Floats:
        state = state - state.mean(axis=1, keepdims=True)
        scale = np.sqrt((state**2).mean(axis=1, keepdims=True) + self._shape.epsilon)
        normed: Floats = state / scale * self._floats[f"{name}.w"] + self._floats[f"{name}.b"]
        return normed

    def _attention(self, state: Floats, layer: str, ends: NDArray[np.int64]) -> Floats:
        projections = (self._linear(state, f"{layer}.{part}") for part in ("q", "k", "v"))
        parts = (np.split(projection, ends) for projection in projections)
        return np.concatenate([self._heard(*text) for text in zip(*parts, strict=True)])

    def _heard(self, *projections: Floats) -> Floats:
        """Attention within one text."""
        size, heads = len(projections[0]), self._shape.heads
        query, key, value = (part.reshape(size, heads, -1).transpose(1, 0, 2) for part in projections)
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1])
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        heard: Floats = shares / shares.sum(axis=-1, keepdims=True) @ value
        return heard.transpose(1, 0, 2).reshape(size, -1)


def unit(vectors: Floats) -> Floats:
    """Rows scaled to L2 norm 1."""
    scaled: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled
