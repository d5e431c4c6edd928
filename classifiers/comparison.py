"""A vector against all exemplars: what the head guesses, and which are nearest. Knows no text, encoder or link.

This is most of what a prediction costs beside its embedding, so it is one graph, and the exemplars are numbers of
8 bits in it: a quarter of the memory that has to pass the processor for every prompt. The vector loses nothing by
that: it is written with two digits of seven bits each, and a cosine is right to 0.0001. (Seven, since some
processors add two products in 16 bits.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifiers.encoders.graph_nodes import Nodes
from classifiers.encoders.onnx_session import Calculation
from classifiers.neighbourhood import Codes, lengths

_BASE, _MIDDLE = 128, 64  # a digit counts from -64, and is kept as a number from 0
_MOST = 63 * _BASE + 63  # of what two digits can say


class Compared(NamedTuple):
    """Guesses of shape (labels,); exemplars nearest first, and their cosines, both of shape (count,)."""

    guesses: NDArray[np.float32]
    nearest: NDArray[np.int64]
    cosines: NDArray[np.float32]


class Comparison:
    """Compares with the exemplars of one fit. Safe to use from several threads."""

    def __init__(self, codes: Codes, weights: NDArray[np.float32], bandwidth: float) -> None:
        """Codes of shape (n, dim), weights (labels, n) and bandwidth of the kernel, see `classifiers.head`."""
        self._count = len(codes)
        made = Nodes()
        cosines = _cosines(made, codes)
        _guesses(made, cosines, weights, bandwidth)
        made.add_many("TopK", [cosines, "count"], ["largest", "nearest"])
        self._graph = Calculation(
            made.model(
                "comparison",
                {"vector": ("FLOAT", [1, codes.shape[1]]), "count": ("INT64", [1])},
                {
                    "guesses": ("FLOAT", [1, len(weights)]),
                    "nearest": ("INT64", [1, "count"]),
                    "largest": ("FLOAT", [1, "count"]),
                },
                {"": 13},
            )
        )

    def run(self, vector: NDArray[np.float32], count: int) -> Compared:
        """Compare a unit vector of shape (dim,); `count` nearest are told, or all where there are fewer."""
        feeds = {"vector": vector[np.newaxis], "count": np.array([min(count, self._count)])}
        guesses, nearest, cosines = self._graph.run(feeds)
        return Compared(guesses[0], nearest[0], cosines[0])


def _cosines(made: Nodes, codes: Codes) -> str:
    """Cosine of `vector` to every exemplar, (1, n)."""
    size = made.add("ReduceMax", [made.add("Abs", ["vector"], "sizes")], "size", axes=[1], keepdims=1)
    above = made.add("Max", [size, made.constant("tiny", np.float32(1e-30))], "above")  # a zero vector stays one
    step = made.add("Div", [above, made.constant("most", np.float32(_MOST))], "step")
    number = made.add("Div", ["vector", step], "number")
    base = made.constant("base", np.float32(_BASE))
    first = made.add("Round", [made.add("Div", [number, base], "quotient")], "first")
    rest = made.add("Sub", [number, made.add("Mul", [first, base], "whole")], "rest")
    digits = made.add("Concat", [first, made.add("Round", [rest], "second")], "digits", axis=0)
    moved = made.add("Add", [digits, made.constant("middle", np.float32(_MIDDLE))], "moved")
    products = made.add(
        "MatMulInteger",
        [
            made.add("Cast", [moved], "bytes", to=made.type("UINT8")),
            made.constant("codes", codes.T),
            made.constant("zero", np.uint8(_MIDDLE)),
        ],
        "products",
    )
    values = made.constant("values", np.array([[_BASE, 1]], dtype=np.float32))
    dots = made.add("MatMul", [values, made.add("Cast", [products], "floats", to=made.type("FLOAT"))], "dots")
    inverse = made.constant("inverse", 1 / np.maximum(lengths(codes), np.float32(1))[np.newaxis])
    return made.add("Mul", [dots, made.add("Mul", [inverse, step], "scales")], "cosines")


def _guesses(made: Nodes, cosines: str, weights: NDArray[np.float32], bandwidth: float) -> None:
    """`guesses`, (1, labels): the kernel of `classifiers.head` over the exemplars, weighed."""
    below = made.add("Sub", [cosines, made.constant("self", np.float32(1))], "below")
    wide = made.add("Div", [below, made.constant("bandwidth", np.float32(bandwidth))], "wide")
    near = made.add("Exp", [wide], "near")
    made.add("Gemm", [near, made.constant("weights", weights)], "guesses", transB=1)
