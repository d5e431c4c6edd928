"""`agoge exemplar add`: the effect is shown first, and nothing is saved that nobody wanted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from classifiers import Row, read_exemplars
from router.cli.main import command
from tests.classifiers.material import ROWS, write_rows

TEXT = "Где купить билеты на матч?"
LINE = json.dumps({"text": TEXT, "label": "sport", "lang": "ru"}, ensure_ascii=False) + "\n"
PROMPTS = [
    Row("sport", "ru", "билеты на матч"),
    Row("cooking", "en", "how to boil an egg"),
    Row("physics", "en", "what is entropy"),
]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of all exemplars in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    return write_rows(tmp_path / "policies" / "exemplars" / "all.jsonl", ROWS)


def add(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(command, ["exemplar", "add", "--label", "sport", *arguments], input=answer)


def test_without_a_terminal_the_effect_is_shown_and_nothing_saved(file: Path) -> None:
    before = file.read_bytes()
    done = add(TEXT)
    assert done.exit_code == 3, done.output
    assert file.read_bytes() == before
    assert "nothing was saved; --yes saves without asking" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"text      {TEXT}"
    assert lines[1] == "          sport, ru, for policies/exemplars/all.jsonl"
    assert lines[2].startswith("before    ")
    assert lines[3].startswith("after     sport ")
    table = [line.split() for line in lines if "→" in line]
    assert [row[-11:][:2] for row in table] == [["all", "37"], ["en", "21"], ["ru", "16"]]
    assert "no evaluation set was given" in done.stdout


def test_yes_saves_one_line_and_the_next_training_has_it(file: Path) -> None:
    before = file.read_text(encoding="utf-8")
    done = add(TEXT, "--yes")
    assert done.exit_code == 0, done.output
    assert file.read_text(encoding="utf-8") == before + LINE
    assert "saved to policies/exemplars/all.jsonl" in done.stdout
    assert Row("sport", "ru", TEXT) in read_exemplars(file.parent)


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 3), ("\n", 3)])
def test_on_a_terminal_it_asks_and_no_is_the_default(
    file: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr("router.cli.exemplar._terminal", lambda: True)
    before = file.read_text(encoding="utf-8")
    done = add(TEXT, answer=answer)
    assert done.exit_code == code, done.output
    assert "Save it to policies/exemplars/all.jsonl? [y/N]" in done.stderr
    assert file.read_text(encoding="utf-8") == before + (LINE if code == 0 else "")


def test_json_has_everything_and_evaluation_sets_are_measured(file: Path, tmp_path: Path) -> None:
    mine = write_rows(tmp_path / "mine.jsonl", PROMPTS)
    done = add(TEXT, "--eval", str(mine), "--json")
    assert done.exit_code == 3
    told = json.loads(done.stdout)
    assert (told["saved"], told["file"]) == (False, "policies/exemplars/all.jsonl")
    (text,) = told["texts"]
    assert (text["label"], text["lang"], text["after"]["label"]) == ("sport", "ru", "sport")
    assert text["after"]["wanted"] > text["before"]["wanted"]
    (measured,) = told["sets"]
    assert measured["name"] == str(mine)
    for side in ("before", "after"):
        assert measured[side]["rows"] == {"all": 3, "en": 2, "ru": 1}
        assert told["cross_validation"][side].keys() == {"accuracy", "macro_f1", "ece", "rows", "labels"}
    assert all(moved["kind"] in ("fixed", "broken", "moved") for moved in measured["moved"])
    assert json.loads(add(TEXT, "--json", "--yes").stdout)["saved"] is True


def test_sets_beside_the_policies_are_measured_by_themselves(file: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "policies" / "everyday.jsonl", PROMPTS)
    done = add(TEXT)
    assert "everyday.jsonl: " in done.stdout
    assert ", of 3\n" in done.stdout
    assert (
        "everyday.jsonl" not in add(TEXT, "--exemplars", str(file.parent)).stdout
    )  # another folder, other labels


def test_a_set_that_holds_the_text_itself_is_said_to_flatter(file: Path, tmp_path: Path) -> None:
    leaking = write_rows(tmp_path / "mine.jsonl", [*PROMPTS, Row("sport", "ru", TEXT.upper())])
    assert f"{leaking}: holds 1 of the new texts itself" in add(TEXT, "--eval", str(leaking)).stderr


def test_what_changed_is_counted_and_listed(file: Path, tmp_path: Path) -> None:
    chess = [f"the {piece} on {square}" for piece in ("rook", "queen") for square in "abcde"]
    mine = write_rows(
        tmp_path / "mine.jsonl", [Row("chess", "en", "a rook and a queen"), Row("sport", "en", "the rook on f")]
    )
    done = CliRunner().invoke(
        command, ["exemplar", "add", "--label", "chess", "--new-label", "--eval", str(mine), "--yes", *chess]
    )
    assert done.exit_code == 0, done.output
    assert "mine.jsonl: 1 fixed, " in done.stdout
    assert " → chess  a rook and a queen\n" in done.stdout
    assert ", no chess yet" in done.stdout
    assert len((file.parent / "chess.jsonl").read_text(encoding="utf-8").splitlines()) == 10


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--label", "sprot", TEXT], 1, "known: cooking, physics, sport"),
        (["--new-label", TEXT], 1, "'sport' is not new"),
        (["--label", "chess", "--new-label", TEXT], 1, "'chess' has 1 exemplars; it needs at least 10"),
        (["What is the offside rule?"], 1, "all.jsonl:28 (sport)"),
        (["   "], 1, "no letter and no digit"),
        (["--lang", "all", TEXT], 1, "'lang' is 'all'"),
        (["--lang", " ", TEXT], 1, "'lang' is ' '"),
        (["--eval", "nowhere.jsonl", TEXT], 1, "nowhere.jsonl"),
        ([], 2, "TEXT"),
        (["\udcff"], 2, "UTF-8"),
    ],
)
def test_refusals_save_nothing(file: Path, arguments: list[str], code: int, says: str) -> None:
    before = file.read_bytes()
    done = add(*arguments, "--yes")
    assert done.exit_code == code, done.output
    assert says in done.stderr.replace("\n", "")
    assert "Traceback" not in done.output
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["all.jsonl"]
