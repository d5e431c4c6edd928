"""Two encoders as one, and which pluses join."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from classifiers import Encoder, EncoderError, open_encoder
from classifiers.encoders import e5
from tests.classifiers.e5_files import write_tiny


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    return e5.convert(write_tiny(folder / "tiny.bin"), folder / "encoder")


def test_vectors_stand_side_by_side_at_length_one(encoder: Encoder, small: Path) -> None:
    texts = ["How do I cook rice?", "Как сварить рис?", ""]
    joined, other = open_encoder(f"use+onnx:{small}"), open_encoder(f"onnx:{small}")
    assert joined.id == f"{encoder.id}+{other.id}"
    assert joined.spec == f"use+onnx:{small}"
    assert joined.dim == 512 + 64
    found = joined.encode(texts)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)
    first, second = encoder.encode(texts), other.encode(texts)
    np.testing.assert_allclose(found @ found.T, (first @ first.T + second @ second.T) / 2, atol=1e-6)
    np.testing.assert_array_equal(joined.encode(texts[1:2])[0], found[1])
    assert joined.encode([]).shape == (0, joined.dim)
    assert open_encoder(joined.spec).id == joined.id


def test_a_plus_in_a_name_is_a_plus_in_a_name(small: Path, tmp_path: Path) -> None:
    plus = Path(shutil.copytree(small, tmp_path / "c++ and a+b"))
    assert open_encoder(f"onnx:{plus}").dim == 64
    assert open_encoder(f"onnx:{plus}+use").dim == open_encoder(f"use+onnx:{plus}").dim == 576


def test_what_could_mean_two_things_is_refused(small: Path, tmp_path: Path) -> None:
    plus = Path(shutil.copytree(small, tmp_path / "mine+use"))
    with pytest.raises(EncoderError, match=r"may be two encoders or the folder .*; give the folder another name"):
        open_encoder(f"onnx:{plus}")
    with pytest.raises(EncoderError, match="names 3 encoders; expected two, joined by one"):
        open_encoder(f"use+use+onnx:{small}")


@pytest.mark.parametrize("spec", ["use+", "+use", "use+bert", "bert+use", "use+st:", "use e5", "use:x+e5", "e5:x"])
def test_an_unknown_part_lists_the_known_ones(spec: str) -> None:
    with pytest.raises(EncoderError, match=r"unknown encoder .*; expected use, e5, st:"):
        open_encoder(spec)


def test_a_part_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="not an exported encoder"):
        open_encoder(f"use+onnx:{tmp_path}")
