"""Decision as JSON: the exact form that caches hold, and refusal of anything else."""

from __future__ import annotations

import json

import pytest

from router.core.decide import decide
from router.core.decision import Decision
from router.core.scores import Scores
from tests.core.profiles import ACADEMIC, CORE, PHYSICS, policy

SOME = policy(CORE, PHYSICS, ACADEMIC)


def test_the_json_form() -> None:
    decision = decide(SOME, Scores({"physics": 0.75, "law": 0.25}), None)
    assert json.loads(decision.to_json()) == {
        "blend": [[["core", 1.0], ["physics", 0.8]], decision.blend.id, False],
        "verdicts": [
            ["core", True, "always", 1.0, None, None, None],
            ["physics", True, "scored", 0.8, "physics", 0.75, 0.5],
        ],
        "reason": "scored",
        "label": "physics",
        "scores": {"physics": 0.75, "law": 0.25},
        "out_of_domain": False,
        "policy": "0123456789abcdef",
        "classifier": "",
        "tenant": "acme",
        "role": "editor",
        "inherited": 0,
        "lasts": True,
    }


@pytest.mark.parametrize("asked", [None, frozenset({"academic"}), frozenset({"physics"})])
def test_what_is_read_back_is_equal(asked: frozenset[str] | None) -> None:
    decision = decide(SOME, Scores({"physics": 1 / 3}, out_of_domain=asked is None), asked)
    assert Decision.from_json(decision.to_json()) == decision
    assert Decision.from_json(decision.to_json().encode()) == decision


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"blend": 1}', b"\xff", '{"blend": [[], "x", false]}'])
def test_anything_else_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="not a decision"):
        Decision.from_json(text)


@pytest.mark.parametrize(
    "changed", [{"inherited": -1}, {"inherited": "2"}, {"inherited": True}, {"inherited": None}, {"lasts": 1}]
)
def test_an_inheritance_that_is_none_is_refused(changed: dict[str, object]) -> None:
    raw = json.loads(decide(SOME, Scores(), None).to_json())
    with pytest.raises(ValueError, match="not a decision"):
        Decision.from_json(json.dumps({**raw, **changed}))


def test_a_decision_of_before_there_was_inheritance_is_refused() -> None:
    raw = json.loads(decide(SOME, Scores(), None).to_json())
    del raw["inherited"]
    with pytest.raises(ValueError, match="not a decision"):
        Decision.from_json(json.dumps(raw))


def test_an_unknown_field_is_refused() -> None:
    raw = json.loads(decide(SOME, Scores(), None).to_json())
    with pytest.raises(ValueError, match="not a decision"):
        Decision.from_json(json.dumps({**raw, "prompt": "text"}))
