"""What is asked beside a call, once it has made a new connection: whether the engine is still the one it was.

Starting with the connection is the point: the engine that accepted the call is up by then, so the check hears that
one, or a later one after the call has failed with its engine. Knows no engine and no question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp

Connected = Callable[[object], Coroutine[Any, Any, None]]


class Changed(Exception):
    """The engine is not what a request was rendered for. Raised by `connected`; the request is rendered again."""


class Check:
    """What runs beside one call on a new connection; nothing where none was made, or nothing is to be checked."""

    def __init__(self, held: object) -> None:
        self._held = held
        self._running: asyncio.Task[None] | None = None

    def begin(self, connected: Connected) -> None:
        """Start: the connection has just been made."""
        if self._held is not None:
            self._running = asyncio.create_task(connected(self._held))

    async def agreed(self) -> None:
        """Wait for it. Raises what it raises."""
        if self._running is not None:
            await self._running

    def end(self) -> None:
        """Stop it, if it still runs: the call is over."""
        if self._running is not None:
            self._running.cancel()
            self._running.add_done_callback(lambda task: task.cancelled() or task.exception())  # it was heard of


def on_connection(connected: Connected) -> aiohttp.TraceConfig:
    """Return what makes aiohttp begin the Check of a call whenever the call makes a connection."""

    async def made(session: object, context: Any, params: object) -> None:
        if isinstance(context.trace_request_ctx, Check):
            context.trace_request_ctx.begin(connected)

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(made)
    return trace
