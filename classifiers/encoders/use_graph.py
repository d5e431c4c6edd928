"""Rewrites the carried graph of multilingual USE for one text at a time: the same numbers, a sixth of the nodes.

The carried graph (711 nodes once optimised) is made for batches: it looks words up in 17 tables, keeps the texts
of a batch apart by sparse tensors, and compares the number of a word's text with its neighbours' before every
convolution. With one text at a time none of that changes a number, and it takes more time than the matrices do.
What is left is the convolutional encoder of Yang et al. 2020 ("Multilingual Universal Sentence Encoder for
Semantic Retrieval"): n-grams of 5, 3 and 2 words, two residual convolutions each, their sum over the root of the
number of words, and a residual network of four layers. Vectors are equal to the last bit.

Measured on two busy cores with AVX-512, ms for 12 / 60 / 400 tokens: 1.68 / 2.80 / 11.9 before, 0.81 / 1.69 / 8.5.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifiers.encoders.graph_nodes import MICROSOFT, Carried, Nodes

FORM = 1  # of what is written; copies of another one are not opened

_ROOT = "StatefulPartitionedCall/EncoderDNN"
_TABLES = 17  # word w is row w // 17 of table w % 17
_ORDERS = {5: range(-2, 3), 3: range(-1, 2), 2: range(2)}  # places of an n-gram's words, seen from its own
_REACH = 2  # the furthest of them
_WIDTH = 256  # of an n-gram's convolution
_EPSILON = np.array(1e-12, dtype=np.float32)


def write(weights: Path, target: Path) -> None:
    """Write the graph `inputs` (one text) -> `outputs` (1, 512) with these weights; raises `EncoderError`."""
    made = _Use(Carried(weights))
    outputs = made.network(made.sentence(made.words()))
    target.write_bytes(
        made.model(
            "use",
            {"inputs": ("STRING", [1])},
            {outputs: ("FLOAT", [1, 512])},
            {"": 12, MICROSOFT: 1, "ai.onnx.contrib": 1},
        )
    )


class _Use(Nodes):
    """The encoder, part by part. Each method adds nodes and returns the name of what they make."""

    def __init__(self, carried: Carried) -> None:
        super().__init__()
        self._carried = carried

    def words(self) -> str:
        """Embeddings of the words, (words, 512); `words` are their numbers."""
        inputs, settings = self._carried.node("SentencepieceTokenizer")
        options = [
            self.constant(f"tokenizer.{place}", self._carried.constant(name))
            for place, name in enumerate(inputs[1:])
        ]
        self.add_many(
            "SentencepieceTokenizer", ["inputs", *options], ["pieces", "ends"], "ai.onnx.contrib", **settings
        )
        self.add("Reshape", ["pieces", self.constant("flat", np.array([-1]))], "words")
        tables = [self._matrix(f"Func/StatefulPartitionedCall/input/_{number + 1}:0") for number in range(_TABLES)]
        rows = len(tables[0][0])
        self.constant("word.rows", np.stack([table for table, _, _ in tables], axis=1).reshape(rows * _TABLES, -1))
        self.constant("word.zero", np.tile([np.float32(zero) for _, _, zero in tables], rows)[:, np.newaxis])
        self.constant("word.scale", np.tile([scale for _, scale, _ in tables], rows)[:, np.newaxis])
        self.add(
            "Cast",
            [self.add("Gather", ["word.rows", "words"], "word.bytes")],
            "word.numbers",
            to=self.type("FLOAT"),
        )
        self.add("Sub", ["word.numbers", self.add("Gather", ["word.zero", "words"], "word.zeros")], "word.moved")
        return self.add(
            "Mul", ["word.moved", self.add("Gather", ["word.scale", "words"], "word.scales")], "embeddings"
        )

    def sentence(self, embeddings: str) -> str:
        """Convolutions over the words, (1, 512)."""
        parts = [f"{_ROOT}/CNN_layers/ngram_order_{order}" for order in _ORDERS]
        kernels = [self._matrix(f"{part}/input_size_projection/dense/kernel:0") for part in parts]
        biases = [self._carried.constant(f"{part}/input_size_projection/dense/bias:0") for part in parts]
        projected = self.add(
            "DynamicQuantizeMatMul",
            [
                embeddings,
                self.constant("projection", np.concatenate([matrix for matrix, _, _ in kernels], axis=1)),
                self.constant("projection.scale", np.repeat([scale for _, scale, _ in kernels], _WIDTH)),
                "",
                self.constant("projection.bias", np.concatenate(biases)),
            ],
            "projected",
            MICROSOFT,
        )
        apart = self.add(
            "Reshape", [projected, self.constant("apart", np.array([-1, len(parts), _WIDTH]))], "apart.out"
        )
        gammas = np.stack([self._carried.constant(f"{part}/LayerNorm/gamma:0") for part in parts])
        betas = np.stack([self._carried.constant(f"{part}/LayerNorm/beta:0") for part in parts])
        normed = self._norm(apart, gammas, betas, 2, "norm")
        flat = self.add(
            "Reshape", [normed, self.constant("side", np.array([-1, len(parts) * _WIDTH]))], "side.out"
        )
        states = self.add_many("Split", [flat], [f"order{order}" for order in _ORDERS], axis=1)
        self._places()
        grams = [
            self._convolved(self._convolved(state, order, part, "Conv"), order, part, "Conv_1")
            for state, (order, part) in zip(states, zip(_ORDERS, parts, strict=True), strict=True)
        ]
        joined = self.add("Concat", [embeddings, *reversed(grams)], "joined", axis=1)
        layers = f"{_ROOT}/CNN_layers"
        gamma, beta = (self._carried.constant(f"{layers}/LayerNorm/{name}:0") for name in ("gamma", "beta"))
        dense = self._dense(
            self._norm(joined, gamma, beta, 1, "joined.norm"), f"{layers}/dense/kernel:0", f"{layers}/dense/bias:0"
        )
        # one text: its words are all there is to sum
        total = self.add(
            "ReduceSum", [self.add("Unsqueeze", [dense], "text", axes=[0])], "total", axes=[1], keepdims=0
        )
        root = self.add("Sqrt", [self.add("Cast", ["count"], "count.float", to=self.type("FLOAT"))], "count.root")
        return self.add("Div", [total, root], "sentence")

    def network(self, sentence: str) -> str:
        """Four layers, every second one residual, and L2 norm 1, twice as it is carried."""
        state = sentence
        for first, last in ((0, 1), (2, 3)):
            parts = [f"{_ROOT}/DNN/ResidualHidden_{number}" for number in (first, last)]
            quantised = self._quantised(state, f"layer{first}")
            aside = self._product(quantised, f"{parts[1]}/AdjustDepth/projection/kernel:0")
            hidden = self.add(
                "Relu", [self._product(quantised, f"{parts[0]}/dense/kernel:0")], f"layer{first}.relu"
            )
            summed = self.add(
                "Add", [self._dense(hidden, f"{parts[1]}/dense/kernel:0"), aside], f"layer{last}.sum"
            )
            state = self.add("Tanh" if last == 3 else "Relu", [summed], f"layer{last}.out")
        return self._unit(self._unit(state, "unit"), "outputs")

    def _places(self) -> None:
        """`count`, the number of words, and for each order the places of its n-grams' words in a padded text."""
        self.add("Shape", ["words"], "count")
        number = self.add("Squeeze", ["count"], "count.number", axes=[0])
        ends = self.constant("zero", np.array(0)), self.constant("one", np.array(1))
        own = self.add("Range", [ends[0], number, ends[1]], "place")
        column = self.add("Unsqueeze", [own], "place.column", axes=[1])
        for order, places in _ORDERS.items():
            around = self.constant(f"around{order}", np.array([places]) + _REACH)
            self.add("Add", [column, around], f"grams{order}")
        self.constant("padding", np.zeros((_REACH, _WIDTH), dtype=np.float32))

    def _convolved(self, state: str, order: int, part: str, layer: str) -> str:
        """A residual convolution over n-grams: quantised before its windows are cut, since that is less work."""
        name = f"{state}.{layer}"
        padded = self.add("Concat", ["padding", state, "padding"], f"{name}.padded", axis=0)
        values, scale, zero = self._quantised(padded, name)
        windows = self.add("Gather", [values, f"grams{order}"], f"{name}.windows")
        rows = self.add(
            "Reshape", [windows, self.constant(f"{name}.shape", np.array([-1, order * _WIDTH]))], f"{name}.rows"
        )
        convolution = f"{part}/Ngram-{order}-{layer}"
        product = self._product((rows, scale, zero), f"{convolution}/weights:0", f"{convolution}/bias:0")
        return self.add("Add", [self.add("Relu", [product], f"{name}.relu"), state], f"{name}.out")

    def _norm(self, state: str, gamma: NDArray[Any], beta: NDArray[Any], axis: int, name: str) -> str:
        """Layer normalisation over the last axis, in the steps and the order in which it is carried."""
        mean = self.add("ReduceMean", [state], f"{name}.mean", axes=[axis], keepdims=1)
        moved = self.add("Sub", [state, mean], f"{name}.moved")
        square = self.add("Mul", [moved, moved], f"{name}.square")
        variance = self.add("ReduceMean", [square], f"{name}.variance", axes=[axis], keepdims=1)
        above = self.add("Add", [variance, self.constant(f"{name}.epsilon", _EPSILON)], f"{name}.above")
        inverse = self.add("Reciprocal", [self.add("Sqrt", [above], f"{name}.root")], f"{name}.inverse")
        factor = self.add("Mul", [inverse, self.constant(f"{name}.gamma", gamma)], f"{name}.factor")
        shift = self.add("Mul", [mean, factor], f"{name}.shift")
        scaled = self.add("Mul", [state, factor], f"{name}.scaled")
        bias = self.add("Sub", [self.constant(f"{name}.beta", beta), shift], f"{name}.bias")
        return self.add("Add", [scaled, bias], f"{name}.out")

    def _unit(self, state: str, output: str) -> str:
        """L2 norm 1."""
        square = self.add("Mul", [state, state], f"{output}.square")
        total = self.add("ReduceSum", [square], f"{output}.total", axes=[1], keepdims=1)
        above = self.add("Max", [total, self.constant(f"{output}.epsilon", _EPSILON)], f"{output}.above")
        inverse = self.add("Reciprocal", [self.add("Sqrt", [above], f"{output}.root")], f"{output}.inverse")
        return self.add("Mul", [state, inverse], output)

    def _quantised(self, state: str, name: str) -> tuple[str, str, str]:
        """Bytes, scale and zero point."""
        parts = [f"{name}.{part}" for part in ("bytes", "scale", "zero")]
        self.add_many("DynamicQuantizeLinear", [state], parts)
        return parts[0], parts[1], parts[2]

    def _product(self, quantised: tuple[str, str, str], kernel: str, bias: str | None = None) -> str:
        values, scale, zero = quantised
        matrix, factor, _ = self._matrix(kernel)
        feeds = [values, self.constant(kernel, matrix), scale, self.constant(f"{kernel}.scale", factor), zero]
        return self.add("MatMulIntegerToFloat", feeds + self._bias(bias), f"{kernel}.out", MICROSOFT)

    def _dense(self, state: str, kernel: str, bias: str | None = None) -> str:
        matrix, factor, _ = self._matrix(kernel)
        feeds = [state, self.constant(kernel, matrix), self.constant(f"{kernel}.scale", factor)]
        return self.add("DynamicQuantizeMatMul", feeds + self._bias(bias), f"{kernel}.out", MICROSOFT)

    def _bias(self, name: str | None) -> list[str]:
        """What a product is fed after its matrices: no zero points (the kernels are symmetric), then the bias."""
        return ["", self.constant(name, self._carried.constant(name).ravel())] if name else []

    def _matrix(self, name: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """8-bit numbers, scale and zero point."""
        matrix, scale, zero = (
            self._carried.constant(f"{name}_{part}") for part in ("quantized", "scale", "zero_point")
        )
        return matrix, scale, zero
