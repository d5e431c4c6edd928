"""From a classifier and prompts to gates, into the artefact and back, and anew when the exemplars change."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from classifiers import Calibration, Classifier, Row, RowError, calibrate, ensure, read_rows
from classifiers.artefact import calibration_in
from classifiers.calibrate import recalibrate, remark
from tests.classifiers.material import ROWS, write_rows

# Prompts that are no exemplars of material.py, easy enough to be routed at a lax bound.
UNSEEN = [
    Row("cooking", "en", "How long do I bake bread with butter and eggs?"),
    Row("cooking", "en", "A recipe for pasta soup with fish"),
    Row("cooking", "en", "How much salt for tomato soup?"),
    Row("cooking", "ru", "Рецепт борща с курицей"),
    Row("cooking", "ru", "Как запекать говядину в духовке?"),
    Row("cooking", "ru", "Сколько варить рис?"),
    Row("physics", "en", "What is the entropy of a black hole?"),
    Row("physics", "en", "State Newton's first law of motion"),
    Row("physics", "ru", "Объясни второй закон Ньютона"),
    Row("physics", "ru", "Чему равно ускорение тела?"),
    Row("sport", "en", "How many players are in a football team?"),
    Row("sport", "en", "Who won the tennis cup?"),
    Row("sport", "ru", "Правила хоккейного матча"),
    Row("sport", "ru", "Кто выиграл чемпионат по футболу?"),
]
LAX = {"error": 0.5, "confidence": 0.6}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "unseen.jsonl", UNSEEN)


@pytest.fixture
def calibrated(classifier: Classifier, data: Path) -> Classifier:
    return replace(classifier, calibration=calibrate(classifier, **LAX, data=data))


def _of(classifier: Classifier) -> Calibration:
    assert classifier.calibration is not None
    return classifier.calibration


def test_the_table_counts_what_the_gates_do_to_the_prompts(calibrated: Classifier) -> None:
    found = _of(calibrated)
    chosen = found.chosen
    assert chosen is not None
    assert set(found.gates) == {"cooking", "physics", "sport"}
    for lang in ("en", "ru"):
        rows = [row for row in UNSEEN if row.lang == lang]
        routed = wrong = 0
        for row in rows:
            prediction = calibrated.predict(row.text)
            opened = [label for label, score in prediction.scores.items() if score >= found.gates[label]]
            assert len(opened) <= 1  # whatever `at_most` says
            if opened and not prediction.out_of_domain:
                routed += 1
                wrong += opened != [row.label]
        counts = chosen.languages[lang]
        assert (counts.rows, counts.routed, counts.wrong) == (len(rows), routed, wrong)
        assert routed >= 2
        assert counts.upper <= 0.5
    assert sum(tally.routed for tally in found.labels.values()) == sum(
        counts.routed for counts in chosen.languages.values()
    )


def test_ignored_labels_get_no_gate_and_route_nothing(classifier: Classifier, data: Path) -> None:
    found = calibrate(classifier, **LAX, data=data, ignored=["sport", "physics"])
    assert set(found.gates) == {"cooking"}
    assert found.ignored == ("physics", "sport")
    with pytest.raises(RowError, match="no label chess to ignore; known: cooking, physics, sport"):
        calibrate(classifier, data=data, ignored=["chess"])


def test_too_few_rows_are_refused_with_the_number_needed(classifier: Classifier, data: Path) -> None:
    found = calibrate(classifier, data=data)
    assert found.gates == {}
    assert found.chosen is None
    obstacle = found.obstacle or ""
    assert "0.05 with confidence 0.95" in obstacle
    for lang in ("en", "ru"):
        assert f"{lang}: " in obstacle
    assert "at least 59 routed are needed" in obstacle


def test_exemplars_among_the_prompts_are_left_out(classifier: Classifier, tmp_path: Path, data: Path) -> None:
    mixed = write_rows(tmp_path / "mixed.jsonl", [*UNSEEN, *(replace(r, text=r.text.upper()) for r in ROWS[:5])])
    found = calibrate(classifier, **LAX, data=mixed)
    assert found.seen == 5
    assert found.table == calibrate(classifier, **LAX, data=data).table
    with pytest.raises(RowError, match="holds exemplars only"):
        calibrate(classifier, data=write_rows(tmp_path / "known.jsonl", ROWS))
    strange = write_rows(tmp_path / "strange.jsonl", [Row("law", "en", "May I sue my neighbour?")])
    with pytest.raises(RowError, match="unknown label 'law'"):
        calibrate(classifier, data=strange)


def test_without_a_file_half_of_the_exemplars_are_counted(classifier: Classifier) -> None:
    found = calibrate(classifier, **LAX)
    assert found.data is None
    assert sum(counts.rows for counts in found.table[0].languages.values()) == len(ROWS) // 2


def test_held_out_scores_are_those_that_the_cross_validation_reports(classifier: Classifier) -> None:
    held_out = classifier.held_out
    best = held_out.scores.argmax(axis=1)
    right = [classifier.labels[i] == row.label for i, row in zip(best, classifier.rows, strict=True)]
    reported = classifier.training["cross_validation"]["accuracy"]["all"]
    assert sum(right) / len(right) == pytest.approx(reported)
    assert held_out.strangeness.min() > 0.001  # no exemplar is its own neighbour


def test_the_artefact_keeps_it_and_the_fingerprint_does_not_change(
    classifier: Classifier, calibrated: Classifier, tmp_path: Path
) -> None:
    calibrated.save(tmp_path / "artefact")
    loaded = Classifier.load(tmp_path / "artefact", classifier.encoder)
    assert loaded.calibration == calibrated.calibration
    assert loaded.fingerprint == classifier.fingerprint
    assert (loaded.held_out.scores == classifier.held_out.scores).all()
    written = json.loads((tmp_path / "artefact" / "manifest.json").read_text(encoding="utf-8"))["calibration"]
    assert written["error"] == 0.5
    assert written["labels"]["cooking"]["gate"] == _of(calibrated).gates["cooking"]
    assert {"rows", "routed", "wrong", "upper"} == set(written["table"][0]["languages"]["ru"])


def test_changed_exemplars_are_calibrated_anew_by_the_same_prompts(
    calibrated: Classifier, tmp_path: Path, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "artefact"
    exemplars = write_rows(tmp_path / "exemplars" / "all.jsonl", ROWS).parent
    calibrated.save(folder)
    assert ensure(folder, exemplars).calibration == calibrated.calibration
    write_rows(exemplars / "more.jsonl", [Row("sport", "en", "What is a hat-trick?")])
    with caplog.at_level(logging.WARNING):
        again = ensure(folder, exemplars)
    assert again.fingerprint != calibrated.fingerprint
    assert _of(again) == calibrate(again, **LAX, data=data)
    assert calibration_in(folder) == again.calibration
    assert "gates calibrated anew on " in caplog.text


def test_prompts_that_changed_or_went_are_replaced_by_the_exemplars_and_it_says_so(
    calibrated: Classifier, data: Path
) -> None:
    before = _of(calibrated)
    write_rows(data, read_rows(data)[:-1])
    after = _of(recalibrate(calibrated, before))
    assert after == calibrate(calibrated, **LAX)
    assert after.data is None
    assert "because" in remark(before, after)
    assert "is no longer what it was" in remark(before, after)
    data.unlink()
    assert _of(recalibrate(calibrated, before)) == after


def test_an_artefact_that_is_refused_still_says_how_it_was_calibrated(
    calibrated: Classifier, classifier: Classifier, tmp_path: Path
) -> None:
    folder = tmp_path / "artefact"
    exemplars = write_rows(tmp_path / "exemplars" / "all.jsonl", ROWS).parent
    calibrated.save(folder)
    (folder / "head.npy").write_bytes(b"damaged")
    assert _of(ensure(folder, exemplars)) == calibrated.calibration
    (folder / "manifest.json").write_text("[]", encoding="utf-8")
    assert calibration_in(folder) is None
    assert ensure(folder, exemplars).calibration is None
    assert recalibrate(classifier, None).calibration is None
