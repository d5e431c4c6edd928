"""The line of a decision: everything that a replay needs is in it, and whatever is wrong with it has a name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.core.blend import Blend
from router.core.decision import Decision, Reason
from router.core.facts import Decided
from router.core.recorded import Unreadable, fields_of, read_fields

BLEND = Blend((("core", 1.0), ("physics", 0.8)), "core+physics-0123456789ab")
DECISION = Decision(
    blend=BLEND,
    verdicts=(),
    reason=Reason.SCORED,
    label="physics",
    scores={"physics": 0.44999999999999996, "sport": 0.1},
    out_of_domain=False,
    policy="cafe" * 4,
    classifier="words-1",
    tenant="clinic",
    role="intern",
)


def fields(**changed: Any) -> dict[str, Any]:
    """Return the fields of a line as they come back from a file."""
    written = json.dumps(fields_of(Decided("dec_1", DECISION, "miss", 0.001, "r1", frozenset({"physics"}))))
    return {**json.loads(written), **changed}


def test_a_line_tells_what_decide_was_given_and_what_came_out() -> None:
    recorded = read_fields(fields())
    assert recorded.scores.values == {"physics": 0.44999999999999996, "sport": 0.1}  # not 0.45, which is a gate
    assert recorded.scores.out_of_domain is False
    assert recorded.asked == {"physics"}
    assert (recorded.id, recorded.tenant, recorded.role, recorded.label) == (
        "dec_1",
        "clinic",
        "intern",
        "physics",
    )
    assert recorded.blend == BLEND
    assert (recorded.policy, recorded.classifier) == ("cafe" * 4, "words-1")


def test_nobody_named_differs_from_an_empty_ask() -> None:
    assert fields_of(Decided("d", DECISION, "miss", 0.0))["asked"] is None
    assert read_fields(fields(asked=None)).asked is None
    assert read_fields(fields(asked=[])).asked == frozenset()


@pytest.mark.parametrize(
    "name",
    [name for name in fields() if name not in ("request", "score", "inherited", "cache", "ms", "stages_ms")],
)
def test_a_missing_or_mistaken_field_is_named(name: str) -> None:
    without = fields()
    del without[name]
    with pytest.raises(Unreadable, match=f"`{name}`") as missing:
        read_fields(without)
    assert missing.value.too_old is (name == "scores")  # the one that older logs never had
    with pytest.raises(Unreadable, match=f"`{name}` is 7; it must be ") as mistaken:
        read_fields(fields(**{name: 7}))
    assert not mistaken.value.too_old


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"scores": {"physics": 1.5}}, "`scores` gives 'physics' 1.5; it must be a probability from 0 to 1"),
        ({"scores": {"physics": -0.1}}, "a probability from 0 to 1"),
        ({"scores": {"physics": float("nan")}}, "a probability from 0 to 1"),
        ({"scores": {"physics": True}}, "a probability from 0 to 1"),
        ({"scores": {"physics": None}}, "a probability from 0 to 1"),
        ({"scores": {"physics": 10**400}}, "a probability from 0 to 1"),
        ({"adapters": {}}, "`adapters` is empty"),
        ({"adapters": {"core": "1"}}, "`adapters` gives 'core' '1'; it must be a weight"),
        ({"adapters": {"core": float("inf")}}, "it must be a weight"),
        ({"adapters": {"core": 10**400}}, "it must be a weight"),
        ({"asked": ["core", 1]}, "it must be a list of adapter names, or null"),
        ({"asked": [["core"]]}, "it must be a list of adapter names, or null"),
    ],
)
def test_a_value_that_cannot_be_is_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(Unreadable) as unreadable:
        read_fields(fields(**changed))
    assert said in str(unreadable.value)
    assert len(str(unreadable.value)) < 300
