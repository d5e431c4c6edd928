"""Shortened vectors: cosines stay, rows do not depend on each other, and an artefact brings the axes back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classifiers import ArtefactError, Classifier, Encoder, Row, train
from classifiers.encoders import Vectors, shortened

DIM, RANK = 320, 40


class Spread:
    """Vectors in a plane of `RANK` dimensions of `DIM`, by a hash of the text."""

    id, spec, dim = "spread", "spread", DIM

    def __init__(self) -> None:
        self._plane = np.random.default_rng(1).normal(size=(RANK, DIM))

    def encode(self, texts: Sequence[str]) -> Vectors:
        made = [np.random.default_rng(list(text.encode())).normal(size=RANK) @ self._plane for text in texts]
        vectors = np.stack(made)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_what_lies_along_the_axes_keeps_its_cosines() -> None:
    encoder = Spread()
    vectors = encoder.encode([f"exemplar {number}" for number in range(shortened.FEWEST)])
    short = shortened.shortened(encoder, vectors)
    assert short is not None
    assert (short.dim, short.spec) == (shortened.AXES, "spread")
    less = short.encode(["one", "two", "three"])
    whole = encoder.encode(["one", "two", "three"])
    np.testing.assert_allclose(less @ less.T, whole @ whole.T, atol=1e-5)
    np.testing.assert_array_equal(short.encode(["two"])[0], less[1])
    np.testing.assert_allclose(short.axes @ short.axes.T, np.eye(shortened.AXES), atol=1e-5)


def test_few_vectors_or_short_ones_stay_as_they_are(encoder: Encoder) -> None:
    assert shortened.shortened(encoder, np.zeros((shortened.FEWEST - 1, encoder.dim), np.float32)) is None
    short = shortened.ShortenedEncoder(encoder, np.eye(encoder.dim, dtype=np.float32)[: shortened.AXES])
    assert shortened.shortened(short, np.zeros((shortened.FEWEST, short.dim), np.float32)) is None


def test_other_axes_are_another_encoder(encoder: Encoder) -> None:
    every = np.eye(encoder.dim, dtype=np.float32)
    one, other = (shortened.ShortenedEncoder(encoder, every[first : first + 256]) for first in (0, 1))
    assert one.id != other.id
    assert encoder.id not in (one.id, other.id)


@pytest.fixture(scope="module")
def large() -> Classifier:
    rows = [Row(f"label{n % 4}", "en", f"exemplar number {n}") for n in range(shortened.FEWEST)]
    return train(rows, Spread())


def test_an_artefact_brings_the_axes_back(large: Classifier, tmp_path: Path) -> None:
    large.save(tmp_path / "artefact")
    manifest = json.loads((tmp_path / "artefact" / "manifest.json").read_text("utf-8"))
    assert manifest["encoder"] == {"id": "spread", "spec": "spread", "dim": DIM}
    assert manifest["axes"] == shortened.AXES
    loaded = Classifier.load(tmp_path / "artefact", Spread())
    assert loaded.fingerprint == large.fingerprint
    assert loaded.examine("something else") == large.examine("something else")


def test_other_axes_in_the_folder_are_refused(large: Classifier, tmp_path: Path) -> None:
    folder = tmp_path / "artefact"
    large.save(folder)
    np.save(folder / "axes.npy", np.load(folder / "axes.npy")[::-1])
    with pytest.raises(ArtefactError, match="fingerprint"):
        Classifier.load(folder, Spread())
    np.save(folder / "axes.npy", np.eye(3, dtype=np.float32))
    with pytest.raises(ArtefactError, match=r"axes.npy holds \(3, 3\), expected \(256, 320\)"):
        Classifier.load(folder, Spread())
    (folder / "axes.npy").unlink()
    with pytest.raises(ArtefactError, match="damaged"):
        Classifier.load(folder, Spread())


def test_a_fingerprint_changes_with_the_axes(large: Classifier) -> None:
    assert isinstance(large.encoder, shortened.ShortenedEncoder)
    other = shortened.ShortenedEncoder(large.encoder.whole, large.encoder.axes[::-1])
    assert replace(large, encoder=other).fingerprint != large.fingerprint
