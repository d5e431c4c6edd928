"""What one connection may cost us: time for a head and a body, size of a head, unread answers, and their number.

Uvicorn bounds none of these. Its protocols, whichever parser they use, are given timers; where a timer or a bound
is passed, the client gets a short answer in OpenAI's form while it still can, and the connection closes. Knows no
route.
"""

from __future__ import annotations

import asyncio
import http
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, cast

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from router.channels.errors import error_object
from router.cli.one_piece import OnePiece
from router.core.errors import BadRequest, Refused

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError:  # httptools is not installed: uvicorn reads with h11 then, and so do we
    HttpToolsProtocol = None  # type: ignore[assignment, misc]

Refusing = Callable[[str, int], None]
"""(code, status): hears of every refusal, for the metrics."""

LINGER_SECONDS = 2.0  # that a refused client may take to read why
SPARE = 50  # how many may do that at once; the others are closed on


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of one server. Seconds and bytes.

    `head_seconds` and `body_seconds`: until a request's head, and then its body, must be there. `stall_seconds`:
    how long a client may leave more than 64 KiB of an answer unread, or the last of it when we close.
    `head_bytes`, `headers`: the size of a head, request line included, and how many headers it may have.
    `connections`: how many may be open; beyond them 503 at once.
    """

    head_seconds: float = 10.0
    body_seconds: float = 60.0
    stall_seconds: float = 120.0
    head_bytes: int = 32 * 1024
    headers: int = 100
    connections: int = 1000


class _Phase(Enum):
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()  # or nothing: uvicorn's own keep-alive limit holds then


class _Limited(asyncio.Protocol):
    """The bounds themselves, over one of uvicorn's protocols."""

    limits = ConnectionLimits()
    refusing: Refusing = staticmethod(lambda code, status: None)

    app: ASGIApp
    loop: asyncio.AbstractEventLoop
    connections: set[Any]
    lingering: set[Any]
    transport: asyncio.Transport
    flow: Any
    cycle: Any
    timeout_keep_alive_task: asyncio.TimerHandle | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = _HeadBounds(self.app, self.limits, self.refusing)
        self._arriving: asyncio.TimerHandle | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._watched: tuple[_Phase, object] = (_Phase.ANSWER, None)
        self._head_bytes = 0
        self._over = False

    def phase(self) -> _Phase:
        """Return what the client has to send next."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bound the number of connections, and wait for a head."""
        full = len(self.connections) >= self.limits.connections
        super().connection_made(cast(asyncio.Transport, OnePiece(cast(asyncio.Transport, transport), self.loop)))
        if full:
            self.connections.discard(self)  # it counts among those that linger
            refusal = Refused("this router has all the connections it may have; try again", code="overloaded")
            self._refuse(503, refusal, retry_after=1)
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop every timer."""
        for timer in (self._arriving, self._leaving):
            if timer is not None:
                timer.cancel()
        self._over = True
        self.lingering.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bound what a head may weigh before it is whole; what is whole is bounded by `_HeadBounds`."""
        if self._over:
            return
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self.phase() is _Phase.HEAD else 0
        if self._head_bytes > self.limits.head_bytes:
            self._refuse(431, _head_too_large(self.limits))
        self._closed_if_read()
        self._watch()

    def pause_writing(self) -> None:
        """Give the client some time to read."""
        super().pause_writing()
        self._leave_soon()

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        if self._leaving is not None and not self._over and not self.transport.is_closing():
            self._leaving.cancel()
            self._leaving = None

    def on_response_complete(self) -> None:
        """Bound the time in which the client reads the last of an answer that ends the connection."""
        super().on_response_complete()  # type: ignore[misc] # uvicorn's protocols have it
        self._closed_if_read()

    def timeout_keep_alive_handler(self) -> None:
        """Bound the same for a connection that was idle too long."""
        super().timeout_keep_alive_handler()  # type: ignore[misc] # uvicorn's protocols have it
        self._closed_if_read()

    def _closed_if_read(self) -> None:
        """Where the connection is closing, give the client some time to read the last of it."""
        if self.transport.is_closing():
            self._leave_soon()

    def _leave_soon(self, seconds: float | None = None) -> None:
        if self._leaving is None:
            self._leaving = self.loop.call_later(seconds or self.limits.stall_seconds, self.transport.abort)

    def _watch(self) -> None:
        """Start the timer of what has to arrive now; it runs on while that is the same."""
        phase = self.phase()
        if self._idle and phase is _Phase.ANSWER:  # an empty line ended uvicorn's own limit
            phase = _Phase.HEAD
        now = (phase, self.cycle)
        if now == self._watched:
            return
        self._watched = now
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None
        if phase is not _Phase.ANSWER and not self._over and not self.transport.is_closing():
            self._arm()

    @property
    def _idle(self) -> bool:
        return self.timeout_keep_alive_task is None and self.cycle is not None and self.cycle.response_complete

    def _arm(self) -> None:
        head = self._watched[0] is _Phase.HEAD
        seconds = self.limits.head_seconds if head else self.limits.body_seconds
        self._arriving = self.loop.call_later(seconds, self._late, "head" if head else "body", seconds)

    def _late(self, what: str, seconds: float) -> None:
        if self.flow.read_paused:  # it is we who do not read: an answer before this request is still under way
            self._arm()
            return
        wrong = f"the request's {what} did not arrive within {seconds:g} s"
        self._refuse(408, BadRequest(wrong, code="request_timeout"))

    def _refuse(self, status: int, refusal: Refused, retry_after: int | None = None) -> None:
        """Answer unless an answer is under way, and close."""
        if self._over or self.transport.is_closing():
            return
        self._over = True
        self.refusing(refusal.code, status)
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering or not self.cycle.response_started:
            self.transport.write(_raw(status, refusal, retry_after))
        self._unheard()
        if len(self.lingering) >= SPARE:
            self.transport.close()
            return
        self.lingering.add(self)
        # Closed at once, with bytes on their way to us, the network would throw our answer away (RFC 9112, 9.6).
        self.transport.write_eof()
        self._leave_soon(LINGER_SECONDS)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and end the connection."""
        super().send_400_response(msg)  # type: ignore[misc] # uvicorn's protocols have it
        self._unheard()

    def _unheard(self) -> None:
        """Where the application has not answered yet: nobody hears what it says from here on."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()


class _LimitedH11(_Limited, H11Protocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Above our own bound: h11 would call a large head an invalid one.
        self.conn = h11.Connection(h11.SERVER, max_incomplete_event_size=2 * self.limits.head_bytes + 2**18)

    def send_400_response(self, msg: str) -> None:
        """As above; where an answer has begun or is over, nothing fits behind it, and the connection ends."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self._unheard()
            self.transport.close()

    def phase(self) -> _Phase:
        if self.conn.their_state is h11.SEND_BODY:
            return _Phase.BODY
        began = self.cycle is None or bool(self.conn.trailing_data[0])
        return _Phase.HEAD if self.conn.their_state is h11.IDLE and began else _Phase.ANSWER


def limited(limits: ConnectionLimits, refusing: Refusing | None = None, *, parser: str = "auto") -> type[Any]:
    """Return a protocol class for `uvicorn.Config(http=...)`. `parser`: h11, httptools or auto."""
    known = {"h11": _LimitedH11} | ({} if HttpToolsProtocol is None else {"httptools": _LimitedHttpTools})
    base = known["httptools" if "httptools" in known else "h11"] if parser == "auto" else known[parser]
    heard = {} if refusing is None else {"refusing": staticmethod(refusing)}
    return type(base.__name__, (base,), {"limits": limits, "lingering": set()} | heard)


if HttpToolsProtocol is not None:

    class _LimitedHttpTools(_Limited, HttpToolsProtocol):
        _phase = _Phase.HEAD

        def phase(self) -> _Phase:
            return self._phase

        def on_message_begin(self) -> None:
            self._phase = _Phase.HEAD
            super().on_message_begin()

        def on_header(self, name: bytes, value: bytes) -> None:
            if self._phase is _Phase.HEAD:  # else it is a trailer: without bound, and of no use
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._phase = _Phase.BODY
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._phase = _Phase.ANSWER
            super().on_message_complete()


class _HeadBounds:
    """Refuses a whole head that is too large, whatever parser read it."""

    def __init__(self, app: ASGIApp, limits: ConnectionLimits, refusing: Refusing) -> None:
        self._app, self._limits, self._refusing = app, limits, refusing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope.get("headers", ())
        size = sum(len(name) + len(value) for name, value in headers)
        size += len(scope.get("raw_path", b"")) + len(scope.get("query_string", b""))
        if len(headers) <= self._limits.headers and size <= self._limits.head_bytes:
            await self._app(scope, receive, send)
            return
        refusal = _head_too_large(self._limits)
        self._refusing(refusal.code, 431)
        body = json.dumps(error_object(refusal)).encode()
        told = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 431, "headers": [*told, (b"connection", b"close")]})
        await send({"type": "http.response.body", "body": body})


def _head_too_large(limits: ConnectionLimits) -> BadRequest:
    bounds = f"{limits.head_bytes} bytes and {limits.headers} headers"
    return BadRequest(f"the request's head has more than the {bounds} it may have", code="head_too_large")


def _raw(status: int, refusal: Refused, retry_after: int | None) -> bytes:
    """Return a whole answer, for where no request is there that the application could answer."""
    body = json.dumps(error_object(refusal)).encode()
    head = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(body)}\r\nconnection: close\r\n"
    return (head + (f"retry-after: {retry_after}\r\n" if retry_after else "") + "\r\n").encode() + body
