"""Builds the ONNX graph of an e5 model. Knows no text.

The linear maps are written as the float32 numbers that their 4 bits stand for, the word embeddings stay 4-bit.
Measured on one busy 2 GHz core without AVX-512, ms of processor time for 12 / 20 / 60 / 128 / 400 tokens, least
cosine to torch in float32, memory:

- float32 `MatMul`:                      21-30 / 35 /  89 / 195 / 741, 1.0000, +208 MB
- 4-bit `MatMulNBits`, accuracy level 0: 29-46 / 43 /  96 / 207 / 731, 1.0000,  +90 MB
- 4-bit `MatMulNBits`, accuracy level 4: 24-31 / 40 / 115 / 252 / 903, 0.9999,  +94 MB
- `quantize_dynamic`, int8 per channel:     18 /  - /  87 / 193 / 700, 0.981 to 0.994: not faithful

Exact and fast for the usual 20 tokens was worth the memory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifiers.encoders.e5_weights import BLOCK, Weights
from classifiers.encoders.graph_nodes import MICROSOFT, Nodes


def write(weights: Weights, centre: NDArray[np.float32], path: Path) -> None:
    """Write the graph `input_ids` (1, tokens) -> `embedding` (1, width).

    Transformer, mean over the tokens, L2 norm 1, minus `centre`, L2 norm 1 again. There is no attention mask:
    texts run one by one, and nothing is padded.
    """
    made = _Bert()
    tokens = made.bert(weights)
    mean = made.add("ReduceMean", [tokens, made.constant("over_tokens", np.array([1]))], "mean", keepdims=0)
    unit = made.add("LpNormalization", [mean], "unit", axis=1, p=2)
    moved = made.add("Sub", [unit, made.constant("centre", centre[None])], "moved")
    made.add("LpNormalization", [moved], "embedding", axis=1, p=2)
    path.write_bytes(
        made.model(
            "e5",
            {"input_ids": ("INT64", [1, "tokens"])},
            {"embedding": ("FLOAT", [1, weights.shape.width])},
            {"": 18, MICROSOFT: 1},
        )
    )


class _Bert(Nodes):
    """The transformer and its embeddings."""

    def bert(self, weights: Weights) -> str:
        """The transformer, normalised after every sum; returns the tokens' states, (1, tokens, width)."""
        shape, floats = weights.shape, weights.floats

        def known(name: str) -> str:
            return self.constant(name, floats[name])

        def linear(state: str, name: str) -> str:
            matrix = self.constant(f"{name}.w", weights.q4[f"{name}.w"].floats().T)
            return self.add("MatMul", [state, matrix], f"{name}.out")

        def add_and_norm(state: str, change: str, norm: str, bias: str) -> str:
            feeds = [state, change, known(f"{norm}.w"), known(f"{norm}.b"), known(bias)]
            return self.add("SkipLayerNormalization", feeds, f"{norm}.out", MICROSOFT, epsilon=shape.epsilon)

        state = self._embeddings(weights)
        norm = [known("emb.ln.w"), known("emb.ln.b")]
        state = self.add("LayerNormalization", [state, *norm], "emb.ln.out", axis=-1, epsilon=shape.epsilon)
        for layer in (f"l{number}" for number in range(shape.layers)):
            projections = [f"{layer}.{part}" for part in ("q", "k", "v")]
            bias = np.concatenate([floats[f"{name}.b"] for name in projections])
            feeds = [*(linear(state, name) for name in projections), self.constant(f"{layer}.qkv.b", bias)]
            heard = self.add("MultiHeadAttention", feeds, f"{layer}.heads", MICROSOFT, num_heads=shape.heads)
            state = add_and_norm(state, linear(heard, f"{layer}.ao"), f"{layer}.aln", f"{layer}.ao.b")
            inner = [linear(state, f"{layer}.fi"), known(f"{layer}.fi.b")]
            bent = self.add("BiasGelu", inner, f"{layer}.gelu", MICROSOFT)
            state = add_and_norm(state, linear(bent, f"{layer}.fo"), f"{layer}.oln", f"{layer}.fo.b")
        return state

    def _embeddings(self, weights: Weights) -> str:
        """Word, place and type (always the first)."""
        word, width = weights.q4["emb.word"], weights.shape.width
        blocks = {"bits": 4, "block_size": BLOCK, "gather_axis": 0, "quantize_axis": 1}
        table = self.constant("word.w", word.pairs.reshape(-1, width // 2))
        scales = self.constant("word.scales", word.scales)
        words = self.add("GatherBlockQuantized", [table, "input_ids", scales], "word", MICROSOFT, **blocks)
        table = self.constant("place.w", weights.floats["emb.pos"] + weights.floats["emb.type"][0])
        count = self.add("Shape", ["input_ids"], "count", start=1, end=2)
        places = self.add("Slice", [table, self.constant("first", np.array([0])), count], "place")
        return self.add("Add", [words, places], "emb.out")
