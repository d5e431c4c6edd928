"""An outcome as one line of JSON, and back. Knows no store."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from router.core.outcome import Outcome

_LAST = 1e11  # seconds: the year 5138, and neither infinity nor NaN
_TEXTS = ("decision_id", "tenant", "channel")
_MAY_BE_NONE = ("decided", "role", "label", "text")


def written(outcome: Outcome) -> bytes:
    """Return the outcome as one line without its line feed; halves of surrogate pairs are escaped."""
    try:
        return json.dumps(asdict(outcome), ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(asdict(outcome), separators=(",", ":")).encode()


def read_outcome(line: bytes) -> Outcome:
    """Return the outcome that `line` holds; keys of a later version are ignored. Raises ValueError saying what is
    wrong, without repeating the line: it may hold a prompt."""
    try:
        raw: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if not isinstance(raw, dict):
        raise ValueError("not a JSON object")
    known = {field.name for field in fields(Outcome)}
    found = {key: value for key, value in raw.items() if key in known}
    for name in ("decision_id", "verdict", "decided", "tenant", "at"):
        if name not in found:
            raise ValueError(f"{name} is missing")
    for name in (*_TEXTS, *_MAY_BE_NONE):
        value = found.get(name, "")
        if not isinstance(value, str) and not (value is None and name in _MAY_BE_NONE):
            raise ValueError(f"{name} is not text")
    if found["verdict"] not in ("right", "wrong"):
        raise ValueError("verdict is neither right nor wrong")
    if isinstance(found["at"], bool) or not isinstance(found["at"], int | float):
        raise ValueError("at is not a number")
    if not 0 <= found["at"] < _LAST:
        raise ValueError("at is no time in seconds since 1970")
    if not isinstance(found.get("scored", True), bool):
        raise ValueError("scored is neither true nor false")
    return Outcome(**found)
