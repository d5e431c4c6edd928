"""The text of `compose.merge`: how a blend's members become one update. Knows the words, not the arithmetic.

    exact                                 the weighted sum itself
    svd(rank=16)                          lossy: its best approximation of that rank
    ties(density=0.5,rank=32)             lossy: trimmed, signs elected, summed
    dare(density=0.5,rank=32,seed=0)      lossy: entries dropped at random, the rest rescaled

What builds the blends reads the same texts; a test holds the two readers together.
"""

from __future__ import annotations

import re

EXACT = "exact"
RANKS = (8, 16, 32, 64, 128)
"""The ranks of a result that every engine serves."""
PATTERN = r"^\s*(exact|svd\(.*\)|ties\(.*\)|dare\(.*\))\s*$"
"""For editors; `canonical` says what is wrong in words."""
RIGHT = (
    "write `exact` (nothing is lost), svd(rank=16), ties(density=0.5,rank=32) or dare(density=0.5,rank=32,seed=0)"
)

_KEYS = {EXACT: (), "svd": ("rank",), "ties": ("density", "rank"), "dare": ("density", "rank", "seed")}
_METHOD = re.compile(r"\s*(\w+)\s*(?:\(([^()]*)\))?\s*")


def canonical(text: str) -> str:
    """Return the one way to write the method: no spaces, keys in order. Raises ValueError with what is wrong."""
    match = _METHOD.fullmatch(text)
    if match is None or match[1] not in _KEYS:
        raise ValueError(f"{text!r} is no way to merge that is known here")
    keys = _KEYS[match[1]]
    given: dict[str, str] = {}
    for pair in filter(str.strip, (match[2] or "").split(",")):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if key not in keys or not equals or key in given:
            raise ValueError(f"{text!r}: {pair.strip()!r} does not belong there")
        given[key] = value
    if missing := [key for key in keys if key not in given]:
        raise ValueError(f"{text!r} lacks {', '.join(missing)}")
    written = ",".join(f"{key}={_number(text, key, given[key])}" for key in keys)
    return f"{match[1]}({written})" if written else match[1]


def _number(text: str, key: str, value: str) -> int | float:
    try:
        number = float(value) if key == "density" else int(value)
    except ValueError:
        raise ValueError(f"{text!r}: {key} is {value!r}, not a number") from None
    if key == "density" and not 0 < number <= 1:
        raise ValueError(f"{text!r}: density is {number}, the share that is kept: above 0 and at most 1")
    if key == "rank" and number not in RANKS:
        raise ValueError(f"{text!r}: rank is {number}, engines serve {', '.join(map(str, RANKS))}")
    return number
