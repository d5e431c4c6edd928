"""Values that a reader of JSON may meet: any, and those near the right one. Knows no reader."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

SCALARS: Any = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([2**63, -1, 0, "\ud800", "\x00", "\u202e", 10**4000, "9" * 5000])
)
JSON: Any = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
DEEP = b"[" * 100_000
"""JSON that has no end, and more levels than Python's own reader has room for."""


@st.composite
def near(draw: st.DrawFn, right: Any) -> Any:
    """Draw `right` with one to three values inside replaced by any others, taken out, or doubled."""
    found = [copy.deepcopy(right)]
    for _ in range(draw(st.integers(1, 3))):
        inside, key = draw(st.sampled_from(list(_places(found))))
        match draw(st.sampled_from(["other", "other", "gone", "double"])):
            case "gone" if inside is not found:
                del inside[key]
            case "double":
                inside[key] = [inside[key], copy.deepcopy(inside[key])]
            case _:
                inside[key] = draw(JSON)
    return found[0]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        yield value, key
        yield from _places(inner)
