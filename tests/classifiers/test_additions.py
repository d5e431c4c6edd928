"""New exemplars: every refusal names what is wrong, and saving appends lines and changes nothing else."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from classifiers import RowError, read_exemplars
from classifiers.additions import guess_lang, prepare, save
from tests.classifiers.material import ROWS, write_rows

SPORT = [row for row in ROWS if row.label == "sport"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path / "other.jsonl", [row for row in ROWS if row.label != "sport"])
    write_rows(tmp_path / "sport.jsonl", SPORT)
    return tmp_path


def test_saving_appends_one_line_in_the_files_own_style(folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    adding = prepare(folder, "sport", ["  Как накачать бицепс дома? "])
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before  # preparing writes nothing
    save(adding)
    line = '{"text": "Как накачать бицепс дома?", "label": "sport", "lang": "ru"}\n'
    after = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert after == {**before, "sport.jsonl": before["sport.jsonl"] + line.encode()}
    assert len(read_exemplars(folder)) == len(ROWS) + 1


def test_a_last_line_without_its_end_is_ended_first(folder: Path) -> None:
    file = folder / "sport.jsonl"
    file.write_bytes(file.read_bytes().rstrip(b"\n"))
    save(prepare(folder, "sport", ["a new one", "another\nline"]))
    lines = file.read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["text"] for line in lines[-3:-1]] == ["a new one", "another\nline"]
    assert lines[-1] == ""


def test_the_files_mode_and_a_link_to_it_stay(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    real = tmp_path_factory.mktemp("elsewhere") / "sport.jsonl"
    (folder / "sport.jsonl").rename(real)
    real.chmod(0o640)
    (folder / "sport.jsonl").symlink_to(real)
    save(prepare(folder, "sport", ["a new one"]))
    assert (folder / "sport.jsonl").is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert len(real.read_text(encoding="utf-8").splitlines()) == len(SPORT) + 1
    assert sorted(path.name for path in real.parent.iterdir()) == ["sport.jsonl"]


def test_the_file_is_the_one_that_holds_the_label(folder: Path) -> None:
    assert prepare(folder, "cooking", ["a new one"]).file == folder / "other.jsonl"
    assert prepare(folder, "chess", ["a new one"], new_label=True).file == folder / "chess.jsonl"


def test_a_new_labels_file_can_be_read_by_others(folder: Path) -> None:
    save(prepare(folder, "chess", ["a new one"], new_label=True))
    assert stat.S_IMODE((folder / "chess.jsonl").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("label", "text", "says"),
    [
        ("sprot", "a new one", "'sprot'; known: cooking, physics, sport; --new-label"),
        ("sport", " \n ", "no letter and no digit"),
        ("sport", "?! 👋", "no letter and no digit"),
        ("sport", "x" * 2001, "2001 characters; encoders see 2000"),
        ("sport", "what  is the OFFSIDE rule?", "sport.jsonl:4 (sport)"),
        ("sport", "Объясни закон ома", "(physics)"),
        ("sport", "你好吗", "name it"),
    ],
)
def test_refusals_name_what_is_wrong(folder: Path, label: str, text: str, says: str) -> None:
    with pytest.raises(RowError) as refused:
        prepare(folder, label, [text])
    assert says in str(refused.value)


def test_a_text_given_twice_and_labels_that_are_no_names_are_refused(folder: Path) -> None:
    with pytest.raises(RowError, match="given twice"):
        prepare(folder, "sport", ["a new one", "A  new one"])
    for label in ("../sport", "", "a b", "-x", "x" * 65):
        with pytest.raises(RowError, match="file name"):
            prepare(folder, label, ["a new one"], new_label=True)
    with pytest.raises(RowError, match="is not new"):
        prepare(folder, "sport", ["a new one"], new_label=True)


def test_exemplars_that_changed_meanwhile_are_not_overwritten(folder: Path) -> None:
    first, second = prepare(folder, "sport", ["one"]), prepare(folder, "sport", ["two"])
    save(first)
    now = (folder / "sport.jsonl").read_bytes()
    with pytest.raises(RowError, match="changed meanwhile"):
        save(second)
    assert (folder / "sport.jsonl").read_bytes() == now


@pytest.mark.parametrize(
    ("text", "lang"),
    [("почему", "ru"), ("Soundtrack к Interstellar", "ru"), ("why", "en"), ("café", "en"), ("kak dela", "en")],
)
def test_the_script_tells_the_language(text: str, lang: str) -> None:
    assert guess_lang(text) == lang
