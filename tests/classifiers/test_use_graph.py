"""The rewritten graph of the embedded encoder: the same vectors to the last bit, from far fewer nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.encoders import carried, use_graph
from classifiers.encoders.use import _WEIGHTS, PACKAGE, VERSION, UseEncoder
from classifiers.errors import EncoderError
from classifiers.rows import read_exemplars

EXEMPLARS = Path("policies/exemplars")
ODD = ["", " ", "a", "я", "😀", "\n\t", "a\0b", "\ud800", "漢字 و עברית", "x " * 1000, "слово " * 300, "a" * 2000]


@pytest.fixture(scope="module")
def plain() -> UseEncoder:
    return UseEncoder()


@pytest.fixture(scope="module")
def rewritten(tmp_path_factory: pytest.TempPathFactory) -> UseEncoder:
    return UseEncoder(cache=tmp_path_factory.mktemp("encoders"))


def test_vectors_of_the_exemplars_and_of_odd_texts_are_equal(plain: UseEncoder, rewritten: UseEncoder) -> None:
    texts = [row.text for row in read_exemplars(EXEMPLARS)[::40]]
    texts += ODD + [" ".join(texts[start : start + 20]) for start in range(0, 200, 20)]
    np.testing.assert_array_equal(rewritten.encode(texts), plain.encode(texts))


@given(st.text(max_size=300))
def test_vectors_of_any_text_are_equal(plain: UseEncoder, rewritten: UseEncoder, text: str) -> None:
    np.testing.assert_array_equal(rewritten.encode([text]), plain.encode([text]))


@pytest.fixture(scope="module")
def weights() -> Path:
    return carried.locate("use", PACKAGE, VERSION, _WEIGHTS)


def test_it_has_a_sixth_of_the_nodes(weights: Path, tmp_path: Path) -> None:
    use_graph.write(weights, tmp_path / "graph.onnx")
    before, after = (len(onnx.load(path).graph.node) for path in (weights, tmp_path / "graph.onnx"))
    assert after < before / 6


def test_a_graph_of_another_model_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], [])), other)
    with pytest.raises(EncoderError, match=r"other\.onnx: 0 nodes SentencepieceTokenizer; expected one"):
        use_graph.write(other, tmp_path / "graph.onnx")
    other.write_bytes(b"no graph")
    with pytest.raises(EncoderError, match=r"other\.onnx: not an ONNX graph"):
        use_graph.write(other, tmp_path / "graph.onnx")
