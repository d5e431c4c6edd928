"""An engine with so many slots and a fixed service time: TGI's chat route. For measuring overload.

Run as `python -m bench.slotted_engine PORT SLOTS SECONDS`. Who finds no slot waits inside the engine, as in
a real one. `GET /most` tells how many were in it at once, waiting or served, at the worst moment.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from bench.stub_engine import ANSWER


class SlottedEngine:
    """Answers after `seconds`, `slots` at a time."""

    def __init__(self, slots: int, seconds: float) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._seconds = seconds
        self._inside = self._most = 0

    async def chat(self, request: web.Request) -> web.Response:
        """Take a slot, hold it for the service time, answer."""
        await request.read()
        self._inside += 1
        self._most = max(self._most, self._inside)
        try:
            async with self._slots:
                await asyncio.sleep(self._seconds)
        finally:
            self._inside -= 1
        return web.Response(body=ANSWER, content_type="text/event-stream")

    async def most(self, request: web.Request) -> web.Response:
        """Tell the worst moment."""
        return web.json_response({"most": self._most})


async def health(request: web.Request) -> web.Response:
    """Be well."""
    return web.Response()


def application(slots: int, seconds: float) -> web.Application:
    """Return the engine as an application."""
    engine, app = SlottedEngine(slots, seconds), web.Application()
    app.router.add_post("/v1/chat/completions", engine.chat)
    app.router.add_get("/health", health)
    app.router.add_get("/most", engine.most)
    return app


def main() -> None:
    """Serve on the loopback port given first."""
    port, slots, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    web.run_app(application(slots, seconds), host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    main()
