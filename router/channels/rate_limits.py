"""Requests per minute, before anything of a request is read; OpenAI's headers on every answer to who is limited.

Pure ASGI, as `request_id.py` is and for its reason. Knows who may ask how often through `Rates` alone.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.channels.errors import error_response
from router.channels.wire import CALLER, Identify, bearer
from router.core.errors import RateLimited, Unauthenticated
from router.core.facts import RequestRefused
from router.core.quota import Quota
from router.rates import Rates
from router.service import Router

COUNTED = frozenset({"/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/decisions"})
_KEY = "agoge.spend"


class RateLimits:
    """Counts each request that makes work, and refuses those over the limit with 429."""

    def __init__(self, app: ASGIApp, router: Router, identify: Identify, rates: Rates) -> None:
        self._app, self._router, self._identify, self._rates = app, router, identify, rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it here."""
        if scope["type"] != "http" or scope["path"] not in COUNTED or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            caller = scope[CALLER] = self._identify(bearer(Request(scope)))
        except Unauthenticated:  # the route says so
            await self._app(scope, receive, send)
            return
        policies = self._router.state.policies
        first = await self._rates.spend(policies, caller)
        if first is None:
            await self._app(scope, receive, send)
            return
        left = first

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(told(left))
            await send(message)

        async def spend(more: int) -> None:
            nonlocal left
            left = await self._rates.spend(policies, caller, more) or left
            _refuse(left, more)

        scope[_KEY] = spend
        try:
            _refuse(left, 1)
        except RateLimited as refusal:
            self._router.record(RequestRefused(refusal.code, refusal.status))
            await error_response(refusal)(scope, receive, counted)
            return
        await self._app(scope, receive, counted)


async def spend(request: Request, more: int) -> None:
    """Count `more` requests for one that asks for so much more work. Raises RateLimited."""
    counted: Callable[[int], Awaitable[None]] | None = request.scope.get(_KEY)
    if counted is not None and more > 0:
        await counted(more)


def _refuse(left: Quota, requests: int) -> None:
    if left.retry_after is None:
        return
    per_minute = f"{left.limit} request{'s' if left.limit > 1 else ''} per minute"
    if math.isinf(left.retry_after):
        raise RateLimited(f"this caller may send {per_minute}, and one cannot stand for {requests} more")
    raise RateLimited(f"this caller may send {per_minute}", retry_after=left.retry_after)


def told(left: Quota) -> dict[str, str]:
    """Return what is left as OpenAI's headers (its guide "Rate limits": fields of the headers)."""
    return {
        "x-ratelimit-limit-requests": str(left.limit),
        "x-ratelimit-remaining-requests": str(left.remaining),
        "x-ratelimit-reset-requests": duration(left.reset),
    }


def duration(seconds: float) -> str:
    """Return a time as OpenAI writes it: 12ms, 6.5s, 1m0s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds * 10) / 10, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
