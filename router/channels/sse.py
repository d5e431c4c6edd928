"""An ASGI response that streams server-sent events and frees their source the moment the client leaves.

Starlette's own StreamingResponse leaves a generator suspended when it is cancelled between two events; an
engine would go on generating for nobody until the garbage collector came by.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

STALL_SECONDS = 120.0  # a client that takes nothing for so long keeps an engine for nobody


AHEAD = 64 * 1024  # bytes that may wait for a client that reads slowly, before the engine is held back


class EventStream(Response):
    """Sends the yielded blocks as they are, those that came together in one piece; the generator formats them.

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
        self._blocks: list[bytes] = []
        self._ahead = 0
        self._moved, self._room = asyncio.Event(), asyncio.Event()
        self._left = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the events end or the client is gone, whichever comes first."""
        taking, watching = asyncio.ensure_future(self._take()), asyncio.ensure_future(self._watch(receive))
        taking.add_done_callback(lambda _: self._moved.set())
        try:
            await asyncio.sleep(0)  # until `taking` has what is there already: it goes out with the head
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send_all(send, taking)
        except TimeoutError:
            return  # it stalled: the server closes a connection whose answer has no end
        finally:
            taking.cancel()
            watching.cancel()
            if not taking.done():
                await asyncio.wait((taking,))
            if not taking.cancelled():
                taking.exception()  # heard of
            await self._free()

    async def _send_all(self, send: Send, taking: asyncio.Task[None]) -> None:
        ended, now = False, asyncio.get_running_loop().time
        async with asyncio.timeout(None) as stalled:
            while not (ended or self._left):
                await self._moved.wait()
                self._moved.clear()
                ended = taking.done()
                if ended:
                    taking.result()
                body = b"".join(self._blocks)
                self._blocks.clear()
                self._ahead = 0
                self._room.set()
                stalled.reschedule(now() + STALL_SECONDS)
                await send({"type": "http.response.body", "body": body, "more_body": not ended})
                stalled.reschedule(None)

    async def _take(self) -> None:
        async with aclosing(self._events):
            async for block in self._events:
                self._blocks.append(block)
                self._ahead += len(block)
                self._moved.set()
                if self._ahead > AHEAD:
                    self._room.clear()
                    await self._room.wait()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._left = True
        self._moved.set()
