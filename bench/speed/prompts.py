"""Prompts of a wanted number of tokens, all different: words of the shipped exemplars in a random order.

Tokens are those of the shipped encoder's own tokenizer, counted by the tokenizer inside its graph. Knows no HTTP.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from classifiers.encoders import carried
from classifiers.encoders.use import _WEIGHTS, PACKAGE, VERSION
from router.wiring.settings import shipped


class Tokens:
    """Counts what the shipped encoder sees of a text."""

    def __init__(self) -> None:
        import onnx
        import onnxruntime
        from onnx import helper

        from classifiers.encoders.onnx_session import _text_operators

        graph = onnx.load(str(carried.locate("use", PACKAGE, VERSION, _WEIGHTS))).graph
        node = next(node for node in graph.node if node.op_type == "SentencepieceTokenizer")
        constants = [tensor for tensor in graph.initializer if tensor.name in node.input]
        given = [value for value in graph.input if value.name in node.input]
        pieces = helper.make_tensor_value_info(node.output[0], onnx.TensorProto.INT32, [None])
        alone = helper.make_graph([node], "tokens", given, [pieces], constants)
        model = helper.make_model(
            alone,
            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(node.domain, 1)],
            ir_version=8,
        )
        options = onnxruntime.SessionOptions()
        options.register_custom_ops_library(str(_text_operators()))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "tokens.onnx"
            onnx.save(model, str(file))
            self._session: Any = onnxruntime.InferenceSession(str(file), options)
        self._input: str = given[0].name

    def __call__(self, text: str) -> int:
        """Return how many tokens a text has."""
        (pieces,) = self._session.run(None, {self._input: np.array([text], dtype=object)})
        return len(pieces)


class Prompts:
    """Prompts that never repeat. The same `seed` gives the same ones."""

    def __init__(self, seed: int = 0) -> None:
        self._random = Random(seed)
        self._count = Tokens()
        self._words = words()

    def of(self, tokens: int) -> Iterator[str]:
        """Yield prompts of exactly `tokens` tokens, for ever."""
        seen = set[str]()
        while True:
            text = self._one(tokens)
            if text not in seen:
                seen.add(text)
                yield text

    def some(self, tokens: int, count: int) -> list[str]:
        """Return `count` prompts of exactly `tokens` tokens."""
        made = self.of(tokens)
        return [next(made) for _ in range(count)]

    def _one(self, tokens: int) -> str:
        while True:
            words = self._random.choices(self._words, k=tokens)  # a word is one token or more: never too few
            low, high = 1, len(words)
            while low < high:  # the most words that are not too many
                middle = (low + high + 1) // 2
                low, high = (
                    (middle, high) if self._count(" ".join(words[:middle])) <= tokens else (low, middle - 1)
                )
            text = " ".join(words[:low])
            if self._count(text) == tokens:
                return text


def words() -> list[str]:
    """Return the words of the shipped exemplars, as often as they stand there."""
    found: list[str] = []
    for file in sorted(shipped("policies", "exemplars").glob("*.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            found += [word for word in str(json.loads(line)["text"]).split() if any(map(str.isalnum, word))]
    return found
