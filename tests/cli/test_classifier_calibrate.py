"""`agoge classifier calibrate` from exemplars to gates, on a small real classifier."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from router.cli.main import command
from tests.classifiers.material import ROWS, write_rows
from tests.classifiers.test_calibrate import UNSEEN

POLICY = """
version: 1
base: some/base
adapters:
  core: { from: ./core, when: always }
  cook: { from: ./cook, when: { label: cooking, at_least: GATE } }
  fan:  { from: ./fan,  when: { label: sport, at_least: 1.0 } }
compose: { at_most: 2, merge: exact }
otherwise: []
backends: ["embedded:"]
"""
LAX = ["--error", "0.5", "--confidence", "0.6"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "policies" / "exemplars" / "all.jsonl", ROWS)
    return write_rows(tmp_path / "unseen.jsonl", UNSEEN)


def _run(verb: str, *arguments: str) -> Result:
    return CliRunner().invoke(command, ["classifier", verb, *arguments])


def _calibrate(data: Path, *arguments: str, lax: Sequence[str] = LAX) -> Result:
    exemplars = ["--exemplars", str(data.parent / "policies" / "exemplars")]
    return _run("calibrate", *lax, "--data", str(data), *exemplars, *arguments)


def test_gates_are_printed_kept_shown_and_chosen_anew_by_train(data: Path) -> None:
    run = _calibrate(data)
    assert run.exit_code == 0, run.output
    assert "P(wrong domain | routed) <= 0.5 in en and ru, each, with confidence 0.6" in run.stdout
    assert "<- chosen" in run.stdout
    shown = json.loads(_run("show", "--json").stdout)["calibration"]
    for label in ("cooking", "physics", "sport"):
        assert f"at_least: {shown['labels'][label]['gate']:g}" in run.stdout
    assert "P(wrong domain | routed)" in _run("show").stdout
    again = _run("train", "--exemplars", str(data.parent / "policies" / "exemplars"))
    assert "gates calibrated anew on" in again.stderr
    assert json.loads(_run("show", "--json").stdout)["calibration"] == shown


def test_a_classifier_without_gates_says_how_to_get_some(data: Path) -> None:
    run = _run("train", "--exemplars", str(data.parent / "policies" / "exemplars"))
    assert "agoge classifier calibrate" in run.stdout


def test_a_bound_that_cannot_be_shown_leaves_the_artefact_as_it_was(data: Path) -> None:
    assert _calibrate(data).exit_code == 0
    before = _run("show", "--json").stdout
    run = _calibrate(data, lax=["--error", "0.01"])
    assert run.exit_code == 1
    assert "at least 299 routed are needed" in run.stdout
    assert _run("show", "--json").stdout == before


def test_a_policy_with_a_lower_gate_is_told_which_adapter(data: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("GATE", "0.3"), encoding="utf-8")
    run = _calibrate(data, "--policy", str(policy))
    assert run.exit_code == 1
    assert "cook opens at cooking >= 0.3, below 0." in run.stderr.replace("\n", " ")
    assert "fan opens" not in run.stderr
    assert "open no domain: physics" in run.stdout
    found = json.loads(_calibrate(data, "--policy", str(policy), "--json").stdout)
    assert set(found["gates"]) == {"cooking", "sport"}
    assert [one["adapter"] for one in found["below"]] == ["cook"]
    policy.write_text(POLICY.replace("GATE", f"{found['gates']['cooking']:g}"), encoding="utf-8")
    assert _calibrate(data, "--policy", str(policy)).exit_code == 0


def test_a_policy_that_waits_for_an_unknown_label_is_refused(data: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("GATE", "0.3").replace("label: sport", "label: chess"), encoding="utf-8")
    run = _calibrate(data, "--policy", str(policy))
    assert run.exit_code == 1
    assert "waits for chess" in run.stderr.replace("\n", " ")


@pytest.mark.parametrize("value", ["0", "1", "-0.1", "5"])
def test_shares_lie_strictly_between_nought_and_one(data: Path, value: str) -> None:
    assert _calibrate(data, lax=["--error", value]).exit_code == 2
    assert _calibrate(data, lax=["--confidence", value]).exit_code == 2
