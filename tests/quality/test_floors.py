"""Floors: which figure fell, and that a run says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import classifiers
from bench.quality import __main__ as command
from bench.quality import floors, kept, parts
from tests.quality import toy

FOUND = {"shipped": {"summary": {"en": {"macro_f1": 0.8, "ece": 0.03}, "ru": {"macro_f1": 0.7, "ece": 0.05}}}}


def limits(ru_f1: float = 0.7, ru_ece: float = 0.05) -> dict[str, dict[str, dict[str, float]]]:
    return {"shipped": {"en": {"macro_f1": 0.75}, "ru": {"macro_f1": ru_f1, "ece_at_most": ru_ece}}}


def test_at_the_floor_is_not_below_it() -> None:
    assert floors.broken(FOUND, limits()) == []


def test_a_fall_names_language_figure_value_and_floor() -> None:
    assert floors.broken(FOUND, limits(ru_f1=0.72, ru_ece=0.04)) == [
        "shipped, ru: ece is 0.0500, above the 0.0400 that is allowed",
        "shipped, ru: macro_f1 is 0.7000, below its floor of 0.7200",
    ]


def test_a_language_that_was_not_measured_does_not_pass() -> None:
    (sentence,) = floors.broken({"shipped": {"summary": {"ru": {"macro_f1": 1, "ece": 0}}}}, limits())
    assert sentence == "shipped, en: macro_f1 was not measured, and has a floor"


def test_the_recorded_floors_hold_for_the_recorded_figures() -> None:
    recorded = floors.read()
    assert set(recorded["shipped"]) == {"en", "ru"}
    assert floors.broken(kept.load(), recorded) == []


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options of a run whose only part finds `FOUND`, and nothing is written but under tmp_path."""
    monkeypatch.setattr(classifiers, "open_encoder", lambda spec: toy.Words())
    monkeypatch.setitem(parts.MEASURE, "shipped", lambda bench: FOUND["shipped"])
    monkeypatch.setattr(command.page, "render", lambda document: "")
    monkeypatch.setattr(command.pictures, "draw", lambda document, folder: [])
    monkeypatch.setattr(command, "told", lambda document: ["in short"])
    data = tmp_path / "data"
    data.mkdir()
    toy.write(data)
    out = ["--figures", str(tmp_path / "figures.json"), "--page", str(tmp_path / "page.md")]
    return ["--data", str(data), "--only", "shipped", *out, "--floors", str(tmp_path / "floors.json")]


@pytest.mark.parametrize(("floor", "status"), [(0.7, 0), (0.71, 1)])
def test_a_run_ends_with_its_floors(
    run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], floor: float, status: int
) -> None:
    (tmp_path / "floors.json").write_text(json.dumps(limits(ru_f1=floor)))
    assert command.main(run) == status
    out, err = capsys.readouterr()
    assert "in short" in out
    assert ("below the floor: shipped, ru: macro_f1 is 0.7000, below its floor of 0.7100" in err) == bool(status)
    assert kept.load(tmp_path / "figures.json") == FOUND


def test_without_data_a_run_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([])
    assert ended.value.code == 2
    assert "make quality DATA=FOLDER" in capsys.readouterr().err


def test_a_folder_without_the_sets_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--data", str(tmp_path)]) == 2
    assert "no domains_train.jsonl, no domains_test.jsonl, no clinc150/data_full.json" in capsys.readouterr().err


def test_an_unknown_part_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--data", ".", "--only", "shipped,everything"])
    assert ended.value.code == 2
    assert "no part is called everything" in capsys.readouterr().err
