"""A socket, a router behind it, and progress for whoever waits. Shared by `agoge serve` and `agoge demo`."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import click
import uvicorn

from router.core.errors import AgogeError
from router.core.facts import Fact
from router.ports import Sink
from router.wiring.app import Running, running
from router.wiring.settings import Settings

GRACE_SECONDS = 5  # how long open streams may go on once the server is told to stop
LAST_WORDS_SECONDS = 1.0  # and then, to tell their clients that they end here
PORT = click.IntRange(0, 65535)


class PortTaken(AgogeError):
    """Nobody can listen there; the message says how to choose another port or address."""


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
        another = "make run PORT=9000, or --port 9000"
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):  # the port is not at fault
            another = "--host 127.0.0.1, or another address of this machine"
        raise PortTaken(f"cannot listen on {host}:{port} ({error.strerror}); try {another}") from None
    return listener


def address(listener: socket.socket) -> str:
    """Return the URL of a bound socket: the port is known only now when any free one was asked for."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Say:
    """Prints what is being done and how far it is, on one line per step when nobody watches a terminal."""

    def __init__(self) -> None:
        self._step: str | None = None
        self._since = time.monotonic()
        self._shown = -1
        self._open = False  # whether the cursor stands behind the step

    def __call__(self, step: str, share: float | None) -> None:
        """Report a step, and the share of it that is done when that is known."""
        if step != self._step:
            self.done()
            self._step, self._since, self._shown = step, time.monotonic(), -1
            self._name()
        if share is not None and int(share * 10) > self._shown:
            self._shown = int(share * 10)
            self._name()
            click.echo(f" {self._shown * 10}%", nl=False, err=True)

    def done(self) -> None:
        """Finish the current step."""
        if self._step is not None:
            self._name()
            click.echo(f" ready in {time.monotonic() - self._since:.1f} s", err=True)
        self._step, self._open = None, False

    def pause(self) -> None:
        """End the line: something else is about to be written. The step goes on, on a line of its own."""
        if self._open:
            click.echo(err=True)
        self._open = False

    def beside(self, sinks: Sequence[Sink]) -> list[Sink]:
        """Return sinks that do the same, none of whose lines begins behind a step: a log is read by its lines."""
        return [_Beside(self, sink) for sink in sinks]

    def _name(self) -> None:
        if not self._open:
            click.echo(f"  {self._step} ...", nl=False, err=True)
        self._open = True


@dataclass(frozen=True, slots=True)
class _Beside:
    say: Say
    sink: Sink

    def record(self, fact: Fact) -> None:
        self.say.pause()
        self.sink.record(fact)


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: it raises the signal again when it is done, and would end the process
    before the engine, the cache and the sockets are closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, and hear out the answers that were cancelled: uvicorn does not wait for them."""
        await super().shutdown(sockets)
        if not self.force_exit and (left := set(self.server_state.tasks)):
            await asyncio.wait(left, timeout=LAST_WORDS_SECONDS)


@asynccontextmanager
async def serving(
    settings: Settings, listener: socket.socket, sinks: Sequence[Sink] = ()
) -> AsyncIterator[tuple[Running, asyncio.Task[None]]]:
    """Load everything and serve on `listener`; yields the router and the task that ends with the server.

    SIGINT and SIGTERM end the server once the open streams have ended, after `GRACE_SECONDS` at the latest; a
    second one ends it at once.
    """
    say = Say()
    async with AsyncExitStack() as opened:
        try:
            live = await opened.enter_async_context(running(settings, say.beside(sinks), say))
        except BaseException:  # Ctrl-C too
            say.pause()
            raise
        say.done()
        config = uvicorn.Config(
            live.app,
            log_level="warning",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            server_header=False,
            lifespan="off",
        )
        server = _Server(config)
        logging.getLogger("uvicorn.error").addFilter(_not_our_own_cancelling)
        logging.getLogger("asyncio").addFilter(_no_writing_to_the_gone)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            server.force_exit = server.should_exit
            server.should_exit = True

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            if task.done():
                await task  # it could not start, and says why
            yield live, task
        finally:
            server.should_exit = True
            await asyncio.gather(task, return_exceptions=True)
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def _not_our_own_cancelling(record: logging.LogRecord) -> bool:
    """Drop the traceback of a stream that outlived its grace: ending it was the order."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _no_writing_to_the_gone(record: logging.LogRecord) -> bool:
    """Drop asyncio's line for each piece on its way to a client that has just left: `Abandoned` says it."""
    return record.getMessage() != "socket.send() raised exception."
