from __future__ import annotations

from pathlib import Path

import pytest

from classifiers import Row, RowError, read_exemplars, read_rows
from classifiers.rows import digest
from tests.classifiers.material import ROWS, write_rows


def test_reads_rows_and_ignores_further_keys(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "hi", "label": "general", "lang": "en", "id": 7}\n\n', encoding="utf-8")
    assert read_rows(file) == [Row(label="general", lang="en", text="hi")]


def test_a_line_separator_inside_a_string_does_not_end_the_line(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "one\u2028two", "label": "general", "lang": "en"}\n', encoding="utf-8")
    assert [row.text for row in read_rows(file)] == ["one\u2028two"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"text": "x", "label": "a", "lang": "en"', "not JSON"),
        ('["x"]', "a list, not an object"),
        ('{"label": "a", "lang": "en"}', "'text' is missing"),
        ('{"text": "x", "lang": "en"}', "'label' is missing"),
        ('{"text": "x", "label": "a"}', "'lang' is missing"),
        ('{"text": "  ", "label": "a", "lang": "en"}', "'text' is '  '; expected a non-empty string"),
        ('{"text": "x", "label": 3, "lang": "en"}', "'label' is 3; expected a non-empty string"),
        ('{"text": "x", "label": "a", "lang": "all"}', "'lang' is 'all'"),
    ],
)
def test_a_bad_line_is_named_with_its_file_and_number(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"text": "ok", "label": "a", "lang": "en"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(RowError) as caught:
        read_rows(file)
    assert f"{file}:2: " in str(caught.value)
    assert complaint in str(caught.value)


def test_an_empty_file_a_missing_file_and_a_folder_without_rows_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(RowError, match="holds no rows"):
        read_rows(tmp_path / "empty.jsonl")
    with pytest.raises(RowError, match="cannot be read"):
        read_rows(tmp_path / "none.jsonl")
    with pytest.raises(RowError, match="no exemplars here"):
        read_exemplars(tmp_path / "nowhere")


@pytest.mark.parametrize("second", [Row("b", "en", "How  ARE you?"), Row("a", "en", "how are you?")])
def test_a_text_may_stand_only_once_whatever_its_case_and_spaces(tmp_path: Path, second: Row) -> None:
    write_rows(tmp_path / "one.jsonl", [Row("a", "en", "How are you?")])
    write_rows(tmp_path / "two.jsonl", [second])
    with pytest.raises(RowError, match=r"two\.jsonl.*already in one\.jsonl as a"):
        read_exemplars(tmp_path)


def test_the_digest_depends_on_the_rows_and_not_on_order_or_files(tmp_path: Path) -> None:
    write_rows(tmp_path / "one" / "a.jsonl", ROWS)
    write_rows(tmp_path / "two" / "x.jsonl", ROWS[20:])
    write_rows(tmp_path / "two" / "y.jsonl", ROWS[:20][::-1])
    one, two = read_exemplars(tmp_path / "one"), read_exemplars(tmp_path / "two")
    assert one == two
    assert digest(one) == digest(two)
    assert digest(one[1:]) != digest(one)
    moved = [Row("sport", ROWS[0].lang, ROWS[0].text), *ROWS[1:]]
    assert digest(moved) != digest(ROWS)


def test_the_digest_is_the_documented_one() -> None:
    # printf '["a", "en", "x"]\n' | sha256sum
    assert digest([Row("a", "en", "x")]) == "13b183aba81a85cf352e6a7de7c79af945215341d8d3fc40ccfb09c7d8695ffc"
