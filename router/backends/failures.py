"""What an engine's own error means in our tree. Knows error bodies and statuses, no transport and no client.

TGI says everything about a failed stream with HTTP 200 and `http_status_code: 422`, overload and crashed
generation included, so the text of its error comes before any number (router/src/infer/mod.rs, InferError).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from router.core.errors import (
    BackendBroken,
    BackendFailed,
    BackendOverloaded,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
)

RETRY_AFTER = 1.0
"""Seconds to advise after an overload: TGI has no queue in front, a slot frees with the next finished answer."""

_LONGEST_MESSAGE = 500  # characters; an engine may put a whole traceback, or the prompt, into its error

_OVERLOADED = re.compile(r"\boverloaded\b|too many (?:concurrent )?requests|rate limit", re.IGNORECASE)
_CRASHED = re.compile(r"^(?:request failed during generation|incomplete generation|stream serialization)", re.I)
_INVALID = re.compile(
    r"^(?:input validation error|template error|missing template va[rt]iable|tool error)", re.IGNORECASE
)  # "vatiable" is TGI's own spelling
_TOO_LONG = re.compile(
    r"must have less than \d+ tokens|`?max_new_tokens`? must be <=|context length|maximum model length"
    r"|available context size",
    re.IGNORECASE,
)  # TGI; vLLM and SGLang; vLLM; llama.cpp

_TYPES: Mapping[str, type[BackendFailed]] = {
    "overloaded": BackendOverloaded,
    "validation": BackendRefused,
    "template_error": BackendRefused,
    "missing_template_variable": BackendRefused,
    "tool_error": BackendRefused,
    "generation": BackendBroken,
    "incomplete_generation": BackendBroken,
    "incomplete_generation_stream": BackendBroken,
    "stream_serialization_error": BackendBroken,
}
_STATUSES: Mapping[int, type[BackendFailed]] = {
    400: BackendRefused,
    413: BackendRefused,
    422: BackendRefused,
    429: BackendOverloaded,
    502: BackendUnreachable,  # a proxy in front found no engine
    503: BackendUnreachable,
    504: BackendTimeout,
}


def failure(
    backend: str, message: str, *, status: int | None = None, error_type: str | None = None
) -> BackendFailed:
    """Return the exception for an engine's error: `error_type` decides first, then the text, then `status`.

    Authentication failures become BackendBroken: the key is ours, not the caller's, and a 401 of the engine
    passed on would tell the caller that *their* key is wrong.
    """
    said = _shorten(message)
    if status in (401, 403):
        return BackendBroken(
            f"{backend}: the engine rejects our key (it answered {status}): check the key this backend is given",
            backend=backend,
        )
    kind = _TYPES.get(error_type or "") or _by_text(message) or _STATUSES.get(status or 0, BackendBroken)
    answered = f" (it answered {status})" if status is not None and not said else ""
    text = f"{backend}: {said or 'the engine failed without saying why'}{answered}"
    if kind is BackendOverloaded:
        return BackendOverloaded(text, backend=backend, retry_after=RETRY_AFTER)
    if kind is BackendRefused:
        code, param = ("context_length_exceeded", "messages") if _TOO_LONG.search(message) else (None, None)
        shown = status if status in (400, 413, 422) else 422
        return BackendRefused(text, backend=backend, status=shown, code=code, param=param)
    return kind(text, backend=backend)


def stream_failure(backend: str, error: object, error_type: object = None) -> BackendFailed:
    """Return the exception for the `error` value of a stream event: an object, or a text with its type.

    `http_status_code` is ignored on purpose: TGI writes 422 there whatever happened.
    """
    if isinstance(error, Mapping):
        code = error.get("code", error.get("status_code"))
        kind = error.get("error_type")
        return failure(
            backend,
            str(error.get("message") or ""),
            status=code if isinstance(code, int) else None,
            error_type=kind if isinstance(kind, str) else None,
        )
    return failure(backend, str(error), error_type=error_type if isinstance(error_type, str) else None)


def answered(backend: str, status: int, body: str) -> BackendFailed:
    """Return the exception for a whole answer that is not 200: a JSON error object, plain text, or nothing."""
    try:
        payload: Any = json.loads(body)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, Mapping):
        return failure(backend, body, status=status)
    error, kind = payload.get("error", payload.get("message")), payload.get("error_type")
    if isinstance(error, Mapping):
        error = error.get("message")
    return failure(backend, str(error or ""), status=status, error_type=kind if isinstance(kind, str) else None)


def _by_text(message: str) -> type[BackendFailed] | None:
    if _CRASHED.search(message):
        return BackendBroken
    if _INVALID.search(message):
        return BackendRefused
    return BackendOverloaded if _OVERLOADED.search(message) else None


def _shorten(message: str) -> str:
    text = " ".join(message.split())
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 3] + "..."
