"""A span around each request, from its first byte to the end of its answer. Mounted only where traces are on.

Pure ASGI, as `request_id` is, and for the same reason. Knows no tracing library.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.channels.direct import ROUTE
from router.core.trace import under
from router.ports import Tracer

UNTRACED_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds, by nobody in particular
_HEADER = b"traceparent"
_LONGEST = (
    512  # bytes: W3C's limit for what carries a trace; tracestate, which strangers may fill, is not read at all
)


class Traced:
    """Makes every request a span, a child of its caller's where that one says so."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app, self._tracer = app, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; whatever it starts finds the span in `trace.current`."""
        if scope["type"] != "http" or scope["path"] in UNTRACED_PATHS:
            await self._app(scope, receive, send)
            return
        parent = dict(scope["headers"]).get(_HEADER, b"")[:_LONGEST].decode("latin-1")
        span = self._tracer.request({_HEADER.decode(): parent})
        status, wrong = 500, ""

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with under(span):
                await self._app(scope, receive, noted)
        except BaseException as error:
            wrong = type(error).__name__
            raise
        finally:
            route = scope.get(ROUTE) or getattr(scope.get("route"), "path", None)
            span.answered(scope["method"], route, status)
            span.end(wrong)
