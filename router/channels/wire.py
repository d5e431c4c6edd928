"""What every HTTP channel shares: reading a bounded JSON body, the caller's identity, decision headers, leaving.

Knows no endpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from fastapi import Request
from starlette.requests import ClientDisconnect

from router.channels.json_body import read_object
from router.core.conversation import Conversation, Message
from router.core.errors import BadRequest
from router.recent import Taken
from router.service import Routed

CALLER = "agoge.caller"  # of the scope: (tenant, role), once the key was looked up
MAX_BODY = 8 * 1024 * 1024  # bytes: a 100k-token prompt in UTF-8 with room for an image or two
_PLAIN = "!#$&'()*+,/:;=?@[]^`{|}~ \"<>\\"  # all of ASCII that is visible, and the space, but not %
ROLES = ("system", "developer", "user", "assistant", "tool", "function")

T = TypeVar("T")


class Identify(Protocol):
    """API key -> (tenant, role). Raises Unauthenticated."""

    def __call__(self, api_key: str | None) -> tuple[str, str | None]: ...


class ClientGone(Exception):
    """The client closed the connection before the answer was ready; nobody is left to answer."""


def caller_of(request: Request, identify: Identify) -> tuple[str, str | None]:
    """Return (tenant, role), as the request limits found them where they came before. Raises Unauthenticated."""
    known: tuple[str, str | None] | None = request.scope.get(CALLER)
    return known or identify(bearer(request))


async def read_body(request: Request) -> dict[str, Any]:
    """Return the JSON object in the request's body.

    Raises BadRequest (413 when it is over MAX_BODY), and ClientGone when the client leaves before its end.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY:
        raise _too_large()
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > MAX_BODY:
                raise _too_large()
            chunks.append(chunk)
    except ClientDisconnect:
        raise ClientGone from None
    return read_object(b"".join(chunks))


def _too_large() -> BadRequest:
    refusal = BadRequest(f"the body is larger than {MAX_BODY} bytes", code="payload_too_large")
    refusal.status = 413
    return refusal


def bearer(request: Request) -> str | None:
    """Return the key of `Authorization: Bearer KEY`, None when there is none."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def read_messages(raw: object) -> Conversation:
    """Check `messages` as OpenAI defines them and return the conversation. Raises BadRequest."""
    if not isinstance(raw, list) or not raw:
        raise BadRequest("messages must be a non-empty list", param="messages")
    return Conversation(tuple(_message(entry, f"messages[{index}]") for index, entry in enumerate(raw)))


def _message(raw: object, where: str) -> Message:
    if not isinstance(raw, Mapping):
        raise BadRequest(f"{where} must be an object with role and content", param=where)
    role, content = raw.get("role"), raw.get("content")
    if role not in ROLES:
        raise BadRequest(
            f"{where}.role must be one of {', '.join(ROLES)}, not {role!r:.80}", param=f"{where}.role"
        )
    if isinstance(content, Sequence) and not isinstance(content, str):
        for index, part in enumerate(content):
            at = f"{where}.content[{index}]"
            if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
                raise BadRequest(f"{at} must be an object with a type, such as text", param=at)
            if part["type"] in ("text", "input_text") and not isinstance(part.get("text"), str):
                raise BadRequest(f"{at} of the type {part['type']} must hold text", param=at)
        # The Responses API calls a text part `input_text`; clients mix the two, engines know only `text`.
        content = [{**part, "type": "text"} if part["type"] == "input_text" else part for part in content]
    elif content is not None and not isinstance(content, str):
        raise BadRequest(f"{where}.content must be text or a list of parts", param=f"{where}.content")
    extra = {key: value for key, value in raw.items() if key not in ("role", "content")}
    return Message(role, content, extra or None)


@lru_cache(maxsize=4096)
def header_text(text: str) -> str:
    """Return `text` as a header can carry it: visible ASCII as it is, everything else percent-encoded."""
    return quote(text, safe=_PLAIN)


def decision_headers(routed: Routed) -> dict[str, str]:
    """Return the decision as headers; what a header cannot carry is percent-encoded (RFC 3986)."""
    decision = routed.decision
    return {
        "x-agoge-decision-id": routed.id,
        "x-agoge-label": header_text(decision.label or ""),
        "x-agoge-adapters": header_text(str(decision.blend)),
        "x-agoge-blend": header_text(decision.blend.id),
        "x-agoge-cache": routed.cache,
        "link": f'</v1/decisions/{routed.id}>; rel="describedby"; type="application/json"',  # RFC 8288
    }


def decision_object(taken: Taken) -> dict[str, Any]:
    """Return the additive `agoge` field of a whole answer."""
    decision = taken.decision
    return {
        "decision_id": taken.id,
        "label": decision.label,
        "scores": dict(decision.scores),
        "out_of_domain": decision.out_of_domain,
        "adapters": decision.blend.weights,
        "alone": decision.blend.alone,
        "blend": decision.blend.id,
        "reason": decision.reason,
        "why": decision.why(),
        "inherited": decision.inherited,
        "asked_by": taken.asked_by,
        "cache": taken.cache,
        "policy": decision.policy,
    }


async def unless_gone(
    request: Request, work: Coroutine[Any, Any, T], dispose: Callable[[T], Awaitable[None]] | None = None
) -> T:
    """Await `work`, and cancel it as soon as the client goes away. Raises ClientGone then.

    A result that arrives in spite of that is handed to `dispose`: nothing keeps an engine busy.
    """
    here = asyncio.current_task()
    assert here is not None  # noqa: S101 - a coroutine runs in a task
    left = False

    async def watch() -> None:
        nonlocal left
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left = True
        here.cancel()

    before, watching = here.cancelling(), asyncio.ensure_future(watch())
    try:
        result = await work
        if here.cancelling() > before:  # it came all the same
            if dispose is not None:
                await dispose(result)
            raise asyncio.CancelledError
        return result
    except asyncio.CancelledError:
        if left and here.uncancel() == before:
            raise ClientGone from None
        raise  # the server is being stopped
    finally:
        watching.cancel()
