"""The encoder's mapped copy: the same vectors, really mapped, and no reason for a start to fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from classifiers.encoders.use import UseEncoder

TEXTS = ["hi", "Why does ice float on water?", "слово " * 100, ""]


@pytest.fixture(scope="module")
def plain() -> UseEncoder:
    return UseEncoder()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the copy in it."""
    folder = tmp_path_factory.mktemp("encoders")
    UseEncoder(cache=folder)
    return folder


def test_its_vectors_and_its_name_are_the_same(plain: UseEncoder, cache: Path) -> None:
    mapped = UseEncoder(cache=cache)
    np.testing.assert_array_equal(mapped.encode(TEXTS), plain.encode(TEXTS))
    assert mapped.id == plain.id


def test_it_is_mapped_and_not_read(cache: Path) -> None:
    (copy,) = cache.iterdir()
    code = (
        "import sys; from pathlib import Path; from classifiers.encoders.use import UseEncoder;"
        "encoder = UseEncoder(cache=Path(sys.argv[1])); encoder.encode(['hi']);"
        "print(Path('/proc/self/maps').read_text())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(cache)], capture_output=True, text=True, check=True)
    assert f" {copy}\n" in done.stdout


def test_a_damaged_copy_is_made_anew(plain: UseEncoder, cache: Path, tmp_path: Path) -> None:
    (whole,) = cache.iterdir()
    copy = tmp_path / whole.name
    for damage in (b"", whole.read_bytes()[:1_000_000], b"no graph"):
        copy.write_bytes(damage)
        np.testing.assert_array_equal(UseEncoder(cache=tmp_path).encode(TEXTS[:1]), plain.encode(TEXTS[:1]))
        assert copy.stat().st_size == whole.stat().st_size
    assert list(tmp_path.iterdir()) == [copy]


def test_where_nothing_can_be_written_the_weights_are_read(plain: UseEncoder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    encoder = UseEncoder(cache=tmp_path / "file")
    np.testing.assert_array_equal(encoder.encode(TEXTS[:1]), plain.encode(TEXTS[:1]))
