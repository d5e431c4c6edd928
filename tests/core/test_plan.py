"""plan: an engine is only ever sent a blend that it holds, and falling back never changes who speaks."""

from __future__ import annotations

import pytest

from router.core.blend import Blend
from router.core.errors import BlendUnavailable
from router.core.plan import plan
from router.core.reply import Inventory

SOURCES = {"core": "./core", "physics": "./physics", "academic": "./academic"}
PAIR = Blend.of("m", {"core": 1.0, "physics": 0.8}, SOURCES)
CORE = Blend.of("m", {"core": 1.0}, SOURCES)
HALF_CORE = Blend.of("m", {"core": 0.5}, SOURCES)
ACADEMIC = Blend.of("m", {"academic": 1.0}, SOURCES, alone=True)

HOLDS = Inventory(names=frozenset({PAIR.id, "core"}))
SUMS = Inventory(sums=frozenset({"core", "physics", "academic"}))
STAND_IN = Inventory(stand_in=True)
EMPTY = Inventory()


def test_engines_keep_the_order_of_the_policy() -> None:
    assert plan(PAIR, ("b", "a"), {"a": HOLDS, "b": SUMS}).attempts == ("b", "a")


def test_an_engine_without_the_blend_or_down_is_left_out() -> None:
    assert plan(PAIR, ("down", "empty", "a"), {"a": HOLDS, "empty": EMPTY}).attempts == ("a",)


def test_a_stand_in_comes_last_whatever_its_place() -> None:
    assert plan(PAIR, ("spare", "a"), {"spare": STAND_IN, "a": HOLDS}).attempts == ("a", "spare")


def test_a_stand_in_never_answers_for_an_isolated_adapter() -> None:
    with pytest.raises(BlendUnavailable):
        plan(ACADEMIC, ("spare",), {"spare": STAND_IN})
    assert plan(ACADEMIC, ("spare", "a"), {"spare": STAND_IN, "a": SUMS}).attempts == ("a",)


def test_a_single_adapter_is_served_under_its_own_name_only_at_full_weight() -> None:
    assert plan(CORE, ("a",), {"a": HOLDS}).attempts == ("a",)
    with pytest.raises(BlendUnavailable):
        plan(HALF_CORE, ("a",), {"a": HOLDS})


def test_the_refusal_names_the_blend_and_each_engine() -> None:
    with pytest.raises(BlendUnavailable) as raised:
        plan(PAIR, ("a", "b"), {"a": EMPTY})
    assert PAIR.id in str(raised.value)
    assert "a does not hold it, b down" in str(raised.value)
    assert raised.value.status == 503
    assert raised.value.retry_after == 5.0


def test_without_a_chance_of_recovery_there_is_no_retry_after() -> None:
    with pytest.raises(BlendUnavailable) as raised:
        plan(PAIR, ("a",), {"a": EMPTY})
    assert raised.value.retry_after is None


def test_the_refusal_says_why_a_blend_was_withdrawn() -> None:
    withdrawn = Inventory(published={PAIR.id: "core+physics-0"}, withdrawn={PAIR.id: "acts like the base"})
    with pytest.raises(BlendUnavailable) as raised:
        plan(PAIR, ("a",), {"a": withdrawn})
    assert "a must not be asked (acts like the base)" in str(raised.value)
    assert raised.value.retry_after == 5.0  # it may be proved again
    assert plan(PAIR, ("a", "b"), {"a": withdrawn, "b": SUMS}).attempts == ("b",)
