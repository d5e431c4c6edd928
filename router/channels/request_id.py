"""x-request-id on every answer: the client's own when it can be a header and a log value, else a new one.

Pure ASGI, because a middleware that runs the application in a task of its own hides from it that the client left.
"""

from __future__ import annotations

import re
from secrets import token_hex

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-request-id"
_KEY = "agoge.request_id"
_USABLE = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


class RequestIds:
    """Names each request, and puts the name on its answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; `request_id` reads the name inside."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(HEADER.encode(), b"").decode("latin-1")
        name = scope[_KEY] = given if _USABLE.fullmatch(given) else f"req_{token_hex(16)}"

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (HEADER.encode(), name.encode())]
            await send(message)

        await self._app(scope, receive, named)


def request_id(request: Request) -> str:
    """Return the request's name; empty when nothing named it."""
    return str(request.scope.get(_KEY, ""))
