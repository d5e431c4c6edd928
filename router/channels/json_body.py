"""Bytes -> one JSON object, strictly: what every engine behind us can read too; and back. Knows no HTTP.

Python's own reader takes more than JSON: NaN and Infinity, numbers that overflow to infinity, bytes in UTF-16,
halves of surrogate pairs, the last of two equal keys. Passed on, each would fail later, and less clearly.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

from router.core.errors import BadRequest

MAX_DEPTH = 64  # levels of lists and objects: three times what a chat with nested tool schemas needs
_WRITE = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":")
).encode  # json.dumps makes a new one every time
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


def read_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object (RFC 8259) that `raw` holds. Raises BadRequest saying what is wrong."""
    try:
        body = _READ(raw.decode("utf-8-sig"))
        if _HALF.search(raw):  # a rare sight, so the price of looking closer is rarely paid
            json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadRequest(
            "the body is not JSON: it holds half of a surrogate pair (such as \\ud83d alone)"
        ) from None
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}"[:300]) from None
    if not isinstance(body, dict):
        raise BadRequest(f"the body must be a JSON object, not {type(body).__name__}")
    _check_depth(body)
    return body


def written(body: object) -> bytes:
    """Return `body` as compact JSON in UTF-8. Half a surrogate pair is escaped: its other half may follow."""
    try:
        return _WRITE(body).encode()
    except UnicodeEncodeError:
        return json.dumps(body, separators=(",", ":")).encode()


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return found


_READ = json.JSONDecoder(parse_constant=_constant, parse_float=_float, object_pairs_hook=_object).decode


def _check_depth(body: dict[str, Any]) -> None:
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise BadRequest(f"the body is nested deeper than {MAX_DEPTH} levels")
