"""An ASGI response that streams server-sent events and frees their source the moment the client leaves.

Starlette's own StreamingResponse leaves a generator suspended when it is cancelled between two events; an
engine would go on generating for nobody until the garbage collector came by.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

STALL_SECONDS = 120.0  # a client that takes nothing for so long keeps an engine for nobody


class EventStream(Response):
    """Sends each yielded block as it is; the generator formats `data: ...` itself.

    The server's own flow control holds `send` back while the client does not read, and that holds the engine back:
    nothing piles up here.
    """

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        free: Callable[[], Awaitable[None]],
        headers: Mapping[str, str],
        stopping: Callable[[], None] = lambda: None,
    ) -> None:
        """`free` lets go of what `events` reads from, even when nobody ever started `events`.

        `stopping` is called when the server ends this answer: what `events` still yields then are its last words.
        """
        super().__init__(
            headers={
                **headers,
                "cache-control": "no-cache",
                "x-accel-buffering": "no",  # nginx would hold events back otherwise
            },
            media_type="text/event-stream",
        )
        del self.headers["content-length"]  # nobody knows it yet
        self._events = events
        self._free = free
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the events end or the client is gone, whichever comes first."""
        sending = asyncio.ensure_future(self._send_all(send))
        leaving = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                with suppress(TimeoutError):  # it stalled: the server closes a connection whose answer has no end
                    sending.result()
        except asyncio.CancelledError:  # clients leave by a message: only a server that stops cancels
            self._stopping()
            raise
        finally:
            sending.cancel()
            leaving.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            await self._free()

    async def _send_all(self, send: Send) -> None:
        async with aclosing(self._events):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for event in self._events:
                async with asyncio.timeout(STALL_SECONDS):
                    await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
