"""`agoge policy`: what is printed for people and for programs, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from router.cli.main import command

ROOT = Path(__file__).parents[2]
DEFAULT = str(ROOT / "policies/default.yaml")
TEAM = str(ROOT / "policies/examples/team.yaml")
BAD = str(ROOT / "tests/policies/data/invalid/053-weight-zero.yaml")


def run(*args: str) -> Result:
    return CliRunner().invoke(command, ["policy", *args])


def data(*args: str, code: int = 0) -> Any:
    result = run(*args, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_check_says_what_can_come_out() -> None:
    result = run("check", DEFAULT)
    assert result.exit_code == 0
    assert (
        "5 blends of at most 3 adapters; core in every one that is not isolated; isolated: academic"
        in result.stdout
    )
    assert data("check", DEFAULT)["profiles"][0]["blends"] == 5


def test_check_prints_every_problem_and_exits_with_1() -> None:
    result = run("check", BAD)
    assert result.exit_code == 1
    assert f"{BAD}:7: adapters.sport.weight: is 0.0; write a number from -10 to 10" in result.stderr
    assert "1 problem" in result.stderr
    (problem,) = data("check", BAD, code=1)["problems"]
    assert (problem["line"], problem["where"], problem["wrong"]) == (7, "adapters.sport.weight", "is 0.0")


@pytest.mark.parametrize("verb", ["check", "show", "test", "blends"])
def test_every_verb_refuses_a_bad_policy_with_1(verb: str) -> None:
    assert run(verb, BAD).exit_code == 1


def test_the_default_policy_is_meant_when_none_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # far from the repository: the shipped one is found
    assert data("check")["revision"] == data("check", DEFAULT)["revision"]
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/default.yaml").write_text(Path(TEAM).read_text())
    assert data("check")["revision"] == data("check", TEAM)["revision"]


def test_show_resolves_a_caller() -> None:
    result = run("show", TEAM, "--tenant", "clinic", "--role", "intern")
    assert result.exit_code == 0
    for said in ("tenant clinic, role intern", "medicine >= 0.5", "asked (not this caller)", "primary, spare"):
        assert said in result.stdout
    shown = data("show", TEAM, "--tenant", "clinic", "--role", "intern")
    assert shown["compose"] == {"at_most": 1, "merge": "exact"}
    assert shown["adapters"]["medicine"]["when"] == {"label": "medicine", "at_least": 0.5}
    assert shown["askable"] == ["core", "law", "medicine", "physics"]


def test_show_of_an_unknown_caller_is_wrong_usage() -> None:
    result = run("show", TEAM, "--tenant", "nobody")
    assert result.exit_code == 2
    assert "no profile for tenant 'nobody'" in result.stderr


def test_test_runs_the_cases_beside_the_policy() -> None:
    result = run("test", DEFAULT)
    assert result.exit_code == 0
    assert "17 of 17 cases pass; they reach 5 of 5 blends" in result.stdout


def test_a_failing_case_is_shown_with_what_came_and_exits_with_1(tmp_path: Path) -> None:
    cases = tmp_path / "wrong.cases.yaml"
    cases.write_text("- name: leaks\n  asked: [academic]\n  expect: { adapters: { academic: 1.0, core: 1.0 } }\n")
    result = run("test", DEFAULT, str(cases))
    assert result.exit_code == 1
    assert "FAIL  leaks (line 1)" in result.stdout
    assert "expected academic=1.0,core=1.0" in result.stdout
    assert "got      academic=1.0 (academic: asked)" in result.stdout
    assert data("test", DEFAULT, str(cases), code=1)["cases"][0]["passed"] is False


def test_cases_that_are_not_there_exit_with_1(tmp_path: Path) -> None:
    result = run("test", DEFAULT, str(tmp_path / "none.yaml"))
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr


def test_diff_names_changes_and_blends(tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    text = Path(DEFAULT).read_text()
    new.write_text(
        text.replace("weight: 0.8\n    aliases: [физика]", "weight: 0.7\n    aliases: [физика]")
        .replace("label: sport, at_least: 0.45", "label: sport, at_least: 0.6")
        .replace("at_most: 2 ", "at_most: 1 ")
    )
    found = data("diff", DEFAULT, str(new))
    assert found["changes"] == [
        "default: physics.weight: 0.8 -> 0.7",
        "default: sport.when: { label: sport, at_least: 0.45 } -> { label: sport, at_least: 0.6 }",
        "default: compose: { at_most: 2, merge: exact } -> { at_most: 1, merge: exact }",
    ]
    assert [blend["blend"] for blend in found["blends_added"]] == ["core=1.0,physics=0.7"]
    assert [blend["blend"] for blend in found["blends_removed"]] == [
        "core=1.0,physics=0.8",
        "core=1.0,physics=0.8,sport=0.8",
    ]
    assert "- blend core+physics-" in run("diff", DEFAULT, str(new)).stdout


def test_method_and_conflict_gate_are_shown_and_compared(tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(
        Path(DEFAULT).read_text().replace("merge: exact", "merge: svd(rank=16)\n  refuse_conflict_above: 0.1")
    )
    shown = run("show", str(new)).stdout
    assert "merge svd(rank=16); refused when an adapter loses more than 10% in a blend" in shown
    assert data("show", str(new))["compose"] == {
        "at_most": 2, "merge": "svd(rank=16)", "refuse_conflict_above": 0.1,
    }  # fmt: skip
    found = data("diff", DEFAULT, str(new))
    assert found["changes"] == [
        "default: compose: { at_most: 2, merge: exact } -> "
        "{ at_most: 2, merge: svd(rank=16), refuse_conflict_above: 0.1 }"
    ]
    assert (
        len(found["blends_added"]) == len(found["blends_removed"]) == 3
    )  # the three that have two members or more


def test_diff_of_the_same_meaning_says_so(tmp_path: Path) -> None:
    same = tmp_path / "same.yaml"
    same.write_text("# another comment\n" + Path(DEFAULT).read_text())
    assert "they mean the same" in run("diff", DEFAULT, str(same)).stdout


def test_blends_are_listed_and_written_for_tgi() -> None:
    every = data("blends", DEFAULT)
    assert [blend["adapters"] for blend in every] == [
        {"academic": 1.0},
        {"core": 1.0},
        {"core": 1.0, "physics": 0.8},
        {"core": 1.0, "sport": 0.8},
        {"core": 1.0, "physics": 0.8, "sport": 0.8},
    ]
    assert [blend["alone"] for blend in every] == [True, False, False, False, False]
    line = run("blends", DEFAULT, "--lora-adapters").stdout.strip()
    name, _, value = line.partition("=")
    assert name == "LORA_ADAPTERS"
    assert value.split(",") == [f"{blend['id']}=/adapters/{blend['id']}" for blend in every]
    assert value.count("=") == len(every)  # TGI refuses an item with two
    assert run("blends", DEFAULT, "--lora-adapters", "--root", "/data/").stdout.count("=/data/") == 5


def test_schema_writes_the_file(tmp_path: Path) -> None:
    out = tmp_path / "schema.json"
    assert run("schema", "--out", str(out)).exit_code == 0
    assert (
        out.read_text() == (ROOT / "policies/policy.schema.json").read_text() == run("schema", "--out", "-").stdout
    )
    assert run("schema", "--out", str(tmp_path / "no/such/folder.json")).exit_code == 2


@pytest.mark.parametrize("verb", ["check", "show", "test", "diff", "blends", "schema"])
def test_help_documents_the_exit_codes(verb: str) -> None:
    assert "Exit codes: 0 all is well, 1 something is wrong" in " ".join(run(verb, "--help").stdout.split())
