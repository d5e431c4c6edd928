"""Inventory: what was published, under which name, and what was withdrawn."""

from __future__ import annotations

import pytest

from router.core.blend import Blend
from router.core.errors import BlendUnavailable
from router.core.plan import plan
from router.core.reply import Inventory

SOURCES = {"core": "./core", "physics": "./physics"}
PAIR = Blend.of("m", {"core": 1.0, "physics": 0.8}, SOURCES)
CORE = Blend.of("m", {"core": 1.0}, SOURCES)


def test_a_published_blend_is_served_under_its_published_name_alone() -> None:
    held = Inventory(published={PAIR.id: "core+physics-c0ffee"})
    assert held.served_name(PAIR) == "core+physics-c0ffee"
    assert held.served_name(CORE) is None


@pytest.mark.parametrize(
    "held",
    [
        Inventory(names=frozenset({PAIR.id, "core"})),
        Inventory(published={PAIR.id: "p", CORE.id: "c"}),
        Inventory(sums=frozenset({"core", "physics"})),
        Inventory(stand_in=True),
    ],
)
def test_a_withdrawn_blend_is_served_in_no_way(held: Inventory) -> None:
    assert held.serves(PAIR)
    without = Inventory(held.names, held.sums, held.stand_in, held.published, {PAIR.id: "it acts like the base"})
    assert not without.serves(PAIR)
    assert without.served_name(PAIR) is None
    assert without.serves(CORE)
    with pytest.raises(BlendUnavailable):
        plan(PAIR, ("a",), {"a": without})
