from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from classifiers import ArtefactError, Classifier, Encoder, EncoderError, Row, RowError, ensure, train
from tests.classifiers.material import ROWS, write_rows


def _stages(folder: Path, exemplars: Path) -> tuple[Classifier, set[str]]:
    stages: set[str] = set()
    classifier = ensure(folder, exemplars, "use", lambda stage, done, total: stages.add(stage))
    return classifier, stages


def test_trains_once_then_loads_and_trains_again_when_the_exemplars_change(tmp_path: Path) -> None:
    folder, exemplars = tmp_path / "deep" / "artefact", tmp_path / "exemplars"
    write_rows(exemplars / "all.jsonl", ROWS)
    first, stages = _stages(folder, exemplars)
    assert stages == {"encoding", "cross-validating"}
    second, stages = _stages(folder, exemplars)
    assert stages == set()
    assert second.fingerprint == first.fingerprint
    # another order, another file: the same rows
    (exemplars / "all.jsonl").unlink()
    write_rows(exemplars / "renamed.jsonl", ROWS[::-1])
    assert _stages(folder, exemplars)[1] == set()
    write_rows(exemplars / "more.jsonl", [Row("sport", "en", "What is a hat-trick?")])
    third, stages = _stages(folder, exemplars)
    assert stages == {"encoding", "cross-validating"}
    assert third.fingerprint != first.fingerprint
    assert Classifier.load(folder, third.encoder).fingerprint == third.fingerprint


def test_a_refused_artefact_is_trained_anew(tmp_path: Path, classifier: Classifier) -> None:
    folder = tmp_path / "artefact"
    exemplars = write_rows(tmp_path / "exemplars" / "all.jsonl", ROWS).parent
    classifier.save(folder)
    (folder / "head.npy").write_bytes(b"damaged")
    with pytest.raises(ArtefactError):
        Classifier.load(folder, classifier.encoder)
    again, stages = _stages(folder, exemplars)
    assert "encoding" in stages
    assert again.fingerprint == classifier.fingerprint


def test_what_was_held_out_stays_when_the_exemplars_change(tmp_path: Path, encoder: Encoder) -> None:
    folder, exemplars = tmp_path / "artefact", tmp_path / "exemplars"
    write_rows(exemplars / "all.jsonl", ROWS)
    by_row = train(ROWS, encoder, held_out="rows")
    by_topic = train(ROWS, encoder)
    # the same fit on all rows, and another idea of how sure it may be
    assert (by_row.head.weights == by_topic.head.weights).all()
    assert by_row.head.sharpness != by_topic.head.sharpness
    by_row.save(folder)
    assert _stages(folder, exemplars)[0].training["held_out"] == "rows"
    write_rows(exemplars / "more.jsonl", [Row("sport", "en", "What is a hat-trick?")])
    again, stages = _stages(folder, exemplars)
    assert "cross-validating" in stages
    assert again.training["held_out"] == "rows"
    shutil.rmtree(folder)
    assert _stages(folder, exemplars)[0].training["held_out"] == "topics"


def test_bad_exemplars_and_unknown_encoders_are_errors_not_an_old_classifier(
    tmp_path: Path, classifier: Classifier
) -> None:
    folder = tmp_path / "artefact"
    classifier.save(folder)
    exemplars = tmp_path / "exemplars"
    with pytest.raises(RowError, match="no exemplars here"):
        ensure(folder, exemplars)
    write_rows(exemplars / "all.jsonl", ROWS)
    with pytest.raises(EncoderError, match="unknown encoder 'bert'; expected use, e5"):
        ensure(folder, exemplars, "bert")
    (exemplars / "bad.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(RowError, match=r"bad\.jsonl:1"):
        ensure(folder, exemplars)
