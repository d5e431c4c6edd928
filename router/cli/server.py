"""A socket, a router behind it, and progress for whoever waits. Shared by `agoge serve` and `agoge demo`."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import click
import uvicorn

from router.core.errors import AgogeError
from router.ports import Sink
from router.wiring.app import Running, running
from router.wiring.settings import Settings


class PortTaken(AgogeError):
    """Somebody else listens there; the message says how to choose another port."""


def bind(host: str, port: int) -> socket.socket:
    """Return a bound socket that does not listen yet, before anything slow is loaded. Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio switches Nagle's algorithm off only where it is: without it every
    # streamed answer waits 40 ms for the client's delayed ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"cannot listen on {host}:{port} ({error.strerror}); try make run PORT=9000, or --port 9000"
        ) from None
    return listener


class Say:
    """Prints what is being done and how far it is, on one line per step when nobody watches a terminal."""

    def __init__(self) -> None:
        self._step: str | None = None
        self._since = time.monotonic()
        self._shown = -1

    def __call__(self, step: str, share: float | None) -> None:
        """Report a step, and the share of it that is done when that is known."""
        if step != self._step:
            self.done()
            self._step, self._since, self._shown = step, time.monotonic(), -1
            click.echo(f"  {step} ...", nl=False, err=True)
        if share is not None and int(share * 10) > self._shown:
            self._shown = int(share * 10)
            click.echo(f" {self._shown * 10}%", nl=False, err=True)

    def done(self) -> None:
        """Finish the current line."""
        if self._step is not None:
            click.echo(f" ready in {time.monotonic() - self._since:.1f} s", err=True)
        self._step = None


@asynccontextmanager
async def serving(
    settings: Settings, listener: socket.socket, sinks: Sequence[Sink] = ()
) -> AsyncIterator[tuple[Running, asyncio.Task[None]]]:
    """Load everything and serve on `listener`; yields the router and the task that ends with the server."""
    say = Say()
    async with running(settings, sinks, say) as live:
        say.done()
        config = uvicorn.Config(
            live.app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=5,
            server_header=False,
            lifespan="off",
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            yield live, task
        finally:
            server.should_exit = True
            await task
