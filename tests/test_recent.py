"""The memory of recent decisions: bounded, and each for its own caller alone."""

from __future__ import annotations

from dataclasses import fields

from router.core.decide import decide
from router.core.scores import Scores
from router.recent import Recent, Taken
from tests.core.profiles import CORE, PHYSICS, policy

POLICY = policy(CORE, PHYSICS)  # tenant acme, role editor


def taken(id: str) -> Taken:
    return Taken(id, decide(POLICY, Scores({"physics": 0.9}), None), POLICY, None, "miss")


def test_the_oldest_goes_first() -> None:
    recent = Recent(kept=2)
    for id in ("a", "b", "c"):
        recent.keep(taken(id))
    assert recent.find("a", "acme", "editor") is None
    assert [recent.find(id, "acme", "editor") for id in ("b", "c")] == [taken("b"), taken("c")]


def test_only_the_same_tenant_and_role_find_it() -> None:
    recent = Recent()
    recent.keep(taken("a"))
    assert recent.find("a", "acme", "editor") is not None
    assert recent.find("a", "acme", None) is None
    assert recent.find("a", "default", "editor") is None


def test_nothing_of_a_conversation_has_a_place_in_it() -> None:
    assert {field.name for field in fields(Taken)} == {"id", "decision", "policy", "asked_by", "cache", "nearest"}
