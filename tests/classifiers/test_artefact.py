from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifiers import ArtefactError, Classifier, EncoderError, artefact
from tests.classifiers.material import ROWS


@pytest.fixture
def folder(classifier: Classifier, tmp_path: Path) -> Path:
    classifier.save(tmp_path / "artefact")
    return tmp_path / "artefact"


def _edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_a_loaded_classifier_answers_exactly_as_the_saved_one(classifier: Classifier, folder: Path) -> None:
    loaded = Classifier.load(folder)
    assert loaded.fingerprint == classifier.fingerprint
    assert loaded.rows == classifier.rows
    for text in ("Why is the sky blue?", "рецепт пирога", "🙂"):
        assert loaded.examine(text, 3) == classifier.examine(text, 3)


def test_the_folder_holds_the_five_documented_files_and_nothing_pickled(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["manifest.json", "head.npy", "exemplars.jsonl", "embeddings.npy", "held_out.npz"]
    )
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["labels"] == ["cooking", "physics", "sport"]
    assert manifest["counts"] == {"cooking": 12, "physics": 12, "sport": 12}
    assert manifest["encoder"]["spec"] == "use"
    assert set(manifest["training"]["cross_validation"]["accuracy"]) == {"all", "en", "ru"}
    assert manifest["axes"] is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda m: m.update(format=1), "made with format 1, here it is 5"),
        (lambda m: m["encoder"].update(id="use:2000:0000"), "made with encoder 'use:2000:0000', here it is 'use:"),
        (lambda m: m.update(labels=["cooking", "law", "sport"]), "made with labels"),
        (lambda m: m["head"].update(power=3.0), "made with fingerprint"),
        (lambda m: m.update(limit=-1.0), "made with fingerprint"),
        (lambda m: m.update(nearest=1), "made with fingerprint"),
        (lambda m: m.pop("encoder"), "has no 'encoder'"),
    ],
)
def test_a_manifest_that_does_not_match_is_refused(
    classifier: Classifier, folder: Path, change: Callable[[dict[str, Any]], None], complaint: str
) -> None:
    _edit(folder, change)
    with pytest.raises(ArtefactError) as caught:
        Classifier.load(folder, classifier.encoder)
    assert complaint in str(caught.value)
    assert "agoge classifier train" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["manifest.json", "head.npy", "exemplars.jsonl", "embeddings.npy", "held_out.npz"]
)
def test_a_missing_or_truncated_file_is_refused(classifier: Classifier, folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtefactError):
        Classifier.load(folder, classifier.encoder)
    (folder / name).unlink()
    with pytest.raises(ArtefactError):
        Classifier.load(folder, classifier.encoder)


def test_a_changed_exemplar_or_vector_is_refused(classifier: Classifier, folder: Path) -> None:
    lines = (folder / "exemplars.jsonl").read_text(encoding="utf-8")
    (folder / "exemplars.jsonl").write_text(lines.replace("boil eggs", "boil ham"), encoding="utf-8")
    with pytest.raises(ArtefactError, match="fingerprint"):
        Classifier.load(folder, classifier.encoder)
    (folder / "exemplars.jsonl").write_text(lines, encoding="utf-8")
    vectors = np.load(folder / "embeddings.npy")
    np.save(folder / "embeddings.npy", vectors[::-1])
    with pytest.raises(ArtefactError, match="fingerprint"):
        Classifier.load(folder, classifier.encoder)


def test_exemplars_in_another_order_than_their_vectors_are_refused(classifier: Classifier, folder: Path) -> None:
    lines = (folder / "exemplars.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "exemplars.jsonl").write_text("".join(lines[::-1]), encoding="utf-8")
    with pytest.raises(ArtefactError, match="not in the order of its vectors"):
        Classifier.load(folder, classifier.encoder)


def test_a_missing_encoder_is_not_called_a_damaged_artefact(folder: Path) -> None:
    _edit(folder, lambda manifest: manifest["encoder"].update(spec="onnx:/nowhere"))
    with pytest.raises(EncoderError, match="not an exported encoder"):
        Classifier.load(folder)


def test_nothing_in_the_folder_can_run_code(classifier: Classifier, folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (ran,))

    bomb = np.array([Bomb()], dtype=object)
    np.save(folder / "embeddings.npy", bomb, allow_pickle=True)
    with pytest.raises(ArtefactError, match=r"damaged .*allow_pickle"):
        Classifier.load(folder, classifier.encoder)
    for name in ("head.npy", "held_out.npz"):
        classifier.save(folder)
        (folder / name).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(ArtefactError, match="damaged"):
            Classifier.load(folder, classifier.encoder)
    assert not ran.exists()


def test_weights_for_other_labels_or_rows_are_refused(classifier: Classifier, folder: Path) -> None:
    weights = classifier.head.weights
    for other in (weights[:2], weights[:, :-1], weights[0]):
        np.save(folder / "head.npy", other)
        with pytest.raises(ArtefactError, match=r"head.npy holds .* for 3 labels, 36 rows and 512 axes"):
            Classifier.load(folder, classifier.encoder)


def test_an_encoder_that_computes_other_vectors_here_is_refused(classifier: Classifier, folder: Path) -> None:
    class Elsewhere:
        id, spec, dim = classifier.encoder.id, classifier.encoder.spec, classifier.encoder.dim

        def encode(self, texts):  # type: ignore[no-untyped-def]  # the protocol's signature, repeated for nothing
            return classifier.encoder.encode(texts)[:, ::-1]

    with pytest.raises(ArtefactError, match="encode differently here"):
        Classifier.load(folder, Elsewhere())


def test_saving_replaces_the_old_artefact_and_leaves_nothing_beside_it(
    classifier: Classifier, folder: Path
) -> None:
    (folder / "head.npy").write_bytes(b"old")
    classifier.save(folder)
    assert Classifier.load(folder, classifier.encoder).fingerprint == classifier.fingerprint
    assert [path.name for path in folder.parent.iterdir()] == ["artefact"]


def test_a_save_that_fails_half_way_leaves_the_old_artefact(
    classifier: Classifier, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="no space left"):
        classifier.save(folder)
    monkeypatch.undo()
    assert Classifier.load(folder, classifier.encoder).fingerprint == classifier.fingerprint
    assert [path.name for path in folder.parent.iterdir()] == ["artefact"]


def test_a_rename_that_fails_brings_the_old_artefact_back(
    classifier: Classifier, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("device busy")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="device busy"):
        classifier.save(folder)
    monkeypatch.undo()
    assert Classifier.load(folder, classifier.encoder).fingerprint == classifier.fingerprint


def test_a_folder_with_other_files_is_never_written_over(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(ArtefactError, match="holds other files"):
        classifier.save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter1.txt").read_text(encoding="utf-8") == "years of work"


def test_the_manifest_alone_can_be_read(folder: Path) -> None:
    assert artefact.read_manifest(folder)["counts"]["sport"] == sum(row.label == "sport" for row in ROWS)
    shutil.rmtree(folder)
    with pytest.raises(ArtefactError, match="no classifier here"):
        artefact.read_manifest(folder)
