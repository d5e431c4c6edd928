from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from router.cli.main import command
from tests.classifiers.material import ROWS, write_rows


@pytest.fixture
def exemplars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_rows(tmp_path / "policies" / "exemplars" / "all.jsonl", ROWS).parent


def test_train_then_show_then_evaluate(exemplars: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "made")
    run = CliRunner().invoke(command, ["classifier", "train", "--exemplars", str(exemplars), "--out", out])
    assert run.exit_code == 0, run.output
    for word in ("encoder", "sharpness", "language", "all", "en", "ru", "cooking", "physics", "sport"):
        assert word in run.stdout
    assert "encoding" not in run.stdout
    shown = CliRunner().invoke(command, ["classifier", "show", "--classifier", out, "--json"])
    assert json.loads(shown.stdout) == json.loads(
        (tmp_path / "made" / "manifest.json").read_text(encoding="utf-8")
    )
    again = ["classifier", "train", "--exemplars", str(exemplars), "--out", str(tmp_path / "again"), "--json"]
    assert json.loads(CliRunner().invoke(command, again).stdout) == json.loads(shown.stdout)
    data = str(exemplars / "all.jsonl")
    run = CliRunner().invoke(command, ["classifier", "evaluate", "--classifier", out, "--data", data])
    assert run.exit_code == 0, run.output
    assert "macro_f1" in run.stdout


def test_train_holds_out_topics_unless_told_that_rows_are_a_sample(exemplars: Path, tmp_path: Path) -> None:
    said = {}
    for chosen in ([], ["--held-out", "topics"], ["--held-out", "rows"]):
        out = str(tmp_path / "_".join(["made", *chosen[1:]]))
        arguments = ["classifier", "train", "--exemplars", str(exemplars), "--out", out, *chosen]
        run = CliRunner().invoke(command, arguments)
        assert run.exit_code == 0, run.output
        (told,) = [line for line in run.stdout.splitlines() if line.startswith("Cross-validation")]
        said[" ".join(chosen)] = told
    assert said == {
        "": "Cross-validation on exemplars, whole topics held out:",
        "--held-out topics": "Cross-validation on exemplars, whole topics held out:",
        "--held-out rows": "Cross-validation on exemplars, single rows held out:",
    }
    wrong = CliRunner().invoke(command, ["classifier", "train", "--held-out", "words"])
    assert wrong.exit_code == 2
    assert "'topics', 'rows'" in wrong.stderr


def test_evaluate_on_a_fresh_clone_trains_first_and_prints_one_json_object(
    exemplars: Path, tmp_path: Path
) -> None:
    arguments = ["classifier", "evaluate", "--data", str(exemplars / "all.jsonl"), "--json"]
    run = CliRunner().invoke(command, arguments)
    assert run.exit_code == 0, run.output
    report = json.loads(run.stdout)
    for key in ("accuracy", "macro_f1", "ece"):
        assert set(report[key]) == {"all", "en", "ru"}
        assert all(0.0 <= value <= 1.0 for value in report[key].values())
    assert set(report["labels"]) == {"cooking", "physics", "sport"}
    assert report["labels"]["sport"]["support"] == 12
    assert (tmp_path / ".agoge" / "classifier" / "manifest.json").is_file()
    assert "training it from" in run.stderr
    again = CliRunner().invoke(command, arguments)
    assert json.loads(again.stdout) == report
    assert "training it from" not in again.stderr


def test_an_artefact_of_other_exemplars_is_measured_as_it_is_but_said_so(exemplars: Path) -> None:
    arguments = ["classifier", "evaluate", "--data", str(exemplars / "all.jsonl"), "--json"]
    before = json.loads(CliRunner().invoke(command, arguments).stdout)
    write_rows(exemplars / "all.jsonl", ROWS[:-1])
    run = CliRunner().invoke(command, arguments)
    assert json.loads(run.stdout)["fingerprint"] == before["fingerprint"]
    assert "not trained on" in run.stderr


def test_refusals_are_one_line_and_exit_status_1(exemplars: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke(command, ["classifier", "show"])
    assert run.exit_code == 1
    assert "no classifier here" in run.stderr
    (tmp_path / "bad.jsonl").write_text('{"text": "x"}\n', encoding="utf-8")
    run = CliRunner().invoke(command, ["classifier", "evaluate", "--data", str(tmp_path / "bad.jsonl")])
    assert run.exit_code == 1
    assert "bad.jsonl:1: 'label' is missing" in run.stderr.replace("\n", "")
    assert run.stdout == ""
