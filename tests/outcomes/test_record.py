"""An outcome as a line of JSON: what is read, and what is refused without being repeated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.core.outcome import Outcome
from router.outcomes.record import read_outcome, written

LEAST = {"decision_id": "dec_1", "verdict": "wrong", "decided": None, "tenant": "default", "at": 1}


def test_a_line_is_one_line_and_holds_everything_by_name() -> None:
    outcome = Outcome(
        "dec_1", "wrong", "physics", "clinic", 12.5, "editor", "sport", "строка\nи \u2028 ещё", "slack"
    )
    line = written(outcome)
    assert b"\n" not in line
    assert json.loads(line) == {
        "decision_id": "dec_1",
        "verdict": "wrong",
        "decided": "physics",
        "tenant": "clinic",
        "at": 12.5,
        "role": "editor",
        "label": "sport",
        "text": "строка\nи \u2028 ещё",
        "channel": "slack",
        "scored": True,
    }
    assert read_outcome(line) == outcome


def test_half_a_surrogate_pair_is_kept() -> None:
    assert read_outcome(written(Outcome("d", "right", None, "t", 1.0, text="\ud83d"))).text == "\ud83d"


def test_what_a_line_does_not_say_has_its_default_and_what_is_new_is_ignored() -> None:
    assert read_outcome(json.dumps({**LEAST, "mood": [1]}).encode()) == Outcome(
        "dec_1", "wrong", None, "default", 1
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"decision_id": "dec_1", "text": "a marker', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "not a JSON object"),
        *[
            (json.dumps({**LEAST, "text": "a marker", **change}).encode(), says)
            for change, says in (
                ({"verdict": "marker"}, "verdict is neither right nor wrong"),
                ({"decided": 5}, "decided is not text"),
                ({"tenant": None}, "tenant is not text"),
                ({"at": "now"}, "at is not a number"),
                ({"at": True}, "at is not a number"),
                ({"scored": 1}, "scored is neither true nor false"),
            )
        ],
        *[
            (
                json.dumps({key: value for key, value in LEAST.items() if key != gone}).encode(),
                f"{gone} is missing",
            )
            for gone in LEAST
        ],
    ],
)
def test_a_damaged_line_is_named_without_its_text(line: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        read_outcome(line)
    assert "marker" not in str(caught.value)


def test_the_order_of_keys_is_no_matter() -> None:
    whole: dict[str, Any] = json.loads(written(Outcome("d", "right", "a", "t", 1.0)))
    assert read_outcome(json.dumps(dict(reversed(whole.items()))).encode()) == Outcome("d", "right", "a", "t", 1.0)
