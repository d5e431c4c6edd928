"""reference.json: the file as it is documented, read and written; a broken one is refused with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blends.reference import Line, Reference, ReferenceInvalid, read_reference, write_reference

DOCUMENTED = """\
{"version": 1, "computed_by": "peft 0.21.2, float32",
 "base": [{"prompt": "Небо", "tokens": [" голубое"], "logprobs": [-0.5]}],
 "blends": {"core-0123456789ab": [{"prompt": "The sky", "tokens": [" is", " blue"], "logprobs": [-0.25, -1]}]}}
"""


def test_the_documented_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "reference.json").write_text(DOCUMENTED, encoding="utf-8")
    found = read_reference(tmp_path)
    assert found is not None
    assert found.blends == {"core-0123456789ab": (Line("The sky", (" is", " blue"), (-0.25, -1.0)),)}
    assert found.base == (Line("Небо", (" голубое",), (-0.5,)),)
    assert found.computed_by == "peft 0.21.2, float32"


def test_no_file_is_no_reference(tmp_path: Path) -> None:
    assert read_reference(tmp_path) is None


def test_written_text_stays_readable_and_an_older_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "reference.json").write_text("old", encoding="utf-8")
    written = Reference({"core-1": (Line("Небо", (" г",), (-0.1234567,)),)}, (), "peft")
    text = write_reference(tmp_path, written).read_text("utf-8")
    assert "Небо" in text
    assert json.loads(text)["blends"]["core-1"][0]["logprobs"] == [-0.123457]
    assert [file.name for file in tmp_path.iterdir()] == ["reference.json"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "no reference of version 1"),
        ({"blends": []}, "no reference of version 1"),
        ({"blends": {"core-1": {}}}, "core-1 has no list of lines"),
        ({"blends": {"core-1": [3]}}, "line 1 of core-1 is no mapping"),
        ({"blends": {"core-1": [{"prompt": "a", "tokens": ["b"], "logprobs": []}]}}, "line 1 of core-1 needs"),
        ({"blends": {"core-1": [{"prompt": "a", "tokens": [], "logprobs": []}]}}, "line 1 of core-1 needs"),
        ({"base": [{"prompt": "a", "tokens": ["b"], "logprobs": ["-1"]}]}, "line 1 of base needs"),
    ],
)
def test_a_broken_file_says_where(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    (tmp_path / "reference.json").write_text(json.dumps(json.loads(DOCUMENTED) | change), encoding="utf-8")
    with pytest.raises(ReferenceInvalid, match=says) as caught:
        read_reference(tmp_path)
    assert "reference.json" in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_what_is_no_reference_at_all(tmp_path: Path, text: str) -> None:
    (tmp_path / "reference.json").write_text(text, encoding="utf-8")
    with pytest.raises(ReferenceInvalid):
        read_reference(tmp_path)
