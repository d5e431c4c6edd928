"""The sampling parameters of a chat request: which are passed on, and what each may be.

Source: OpenAI API reference, "Create chat completion". Parameters that are not listed are accepted and ignored;
those that would change the answer's shape in a way we do not serve are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from router.core.errors import BadRequest


def _number(low: float, high: float) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        ok = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        return None if ok else f"a number from {low:g} to {high:g}"

    return check


def _whole(low: int, high: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        ok = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if ok else f"a whole number of at least {low} and at most {high}"

    return check


def _stop(value: Any) -> str | None:
    texts = [value] if isinstance(value, str) else value
    ok = isinstance(texts, list) and len(texts) <= 4 and all(isinstance(text, str) for text in texts)
    return None if ok else "text, or a list of at most 4 texts"


def _is(kind: type, name: str) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        return None if isinstance(value, kind) else name

    return check


def _tools(value: Any) -> str | None:
    ok = isinstance(value, list) and all(isinstance(tool, dict) for tool in value)
    return None if ok else "a list of tools (objects)"


def _tool_choice(value: Any) -> str | None:
    return None if isinstance(value, str | dict) else "none, auto, required, or an object that names a function"


def _response_format(value: Any) -> str | None:
    ok = (
        isinstance(value, dict)
        and isinstance(value.get("type"), str)
        and isinstance(value.get("json_schema", {}), dict)
    )
    return None if ok else 'an object such as {"type": "json_object"}'


_PASSED: Mapping[str, Callable[[Any], str | None]] = {
    "max_tokens": _whole(1, 2**31 - 1),
    "max_completion_tokens": _whole(1, 2**31 - 1),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "frequency_penalty": _number(-2, 2),
    "presence_penalty": _number(-2, 2),
    "stop": _stop,
    "seed": _whole(-(2**63), 2**63 - 1),
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": _is(bool, "true or false"),
    "response_format": _response_format,
}
_WHOLE = ("max_tokens", "max_completion_tokens", "seed")


def read_parameters(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters an engine is told, `max_completion_tokens` folded into `max_tokens`.

    Raises BadRequest naming the parameter, what it is and what it may be.
    """
    if body.get("n") not in (None, 1) or body.get("n") is True:
        raise BadRequest("n must be 1: one prompt gets one answer", param="n")
    if body.get("logprobs") not in (None, False):
        raise BadRequest("logprobs are not served; leave the parameter out", param="logprobs")
    found: dict[str, Any] = {}
    for name, wrong in _PASSED.items():
        value = body.get(name)
        if value is None:
            continue
        if name in _WHOLE and isinstance(value, float) and value.is_integer():
            value = int(value)  # 5.0 is 5 in JSON (RFC 8259 knows numbers only), engines want the latter
        right = wrong(value)
        if right is not None:
            raise BadRequest(f"{name} must be {right}, not {repr(value)[:80]}", param=name)
        found[name] = value
    limit = found.pop("max_completion_tokens", None)
    if limit is not None:
        found["max_tokens"] = limit
    return found
