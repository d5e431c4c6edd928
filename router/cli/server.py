"""A router behind a socket, and progress for whoever waits. Shared by `agoge serve` and `agoge demo`."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import click
import uvicorn
from fastapi import FastAPI

from router.cli.connections import ConnectionLimits, limited
from router.core.facts import Fact, RequestRefused
from router.ports import Sink
from router.wiring.app import Running, running
from router.wiring.settings import Settings
from router.wiring.settled import settle

CUT_SECONDS = 2  # what an answer that was cut has to say so


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
            await asyncio.wait(left, timeout=CUT_SECONDS)


@asynccontextmanager
async def serving(
    settings: Settings,
    listener: socket.socket,
    sinks: Sequence[Sink] = (),
    *,
    admin: socket.socket | None = None,
    aloud: bool = True,
) -> AsyncIterator[tuple[Running, asyncio.Task[None]]]:
    """Load everything and serve on `listener`; yields the router and the task that ends with the server.

    SIGINT and SIGTERM end the server: `listener` takes no more, and answers under way may go on for
    `settings.grace` seconds. What is left then is told so, and cut. A second signal cuts at once. The routes for
    operators are served on `admin`, where it is given, to the end. `aloud` prints what is being loaded.
    """
    say = Say()
    async with AsyncExitStack() as opened:
        try:
            live = await opened.enter_async_context(
                running(settings, say.beside(sinks) if aloud else sinks, say if aloud else None)
            )
        except BaseException:  # Ctrl-C too
            say.pause()
            raise
        settle()
        say.done()

        def refusing(code: str, status: int) -> None:
            live.router.record(RequestRefused(code, status))

        protocol = limited(ConnectionLimits(connections=settings.connections), refusing)
        logging.getLogger("uvicorn.error").addFilter(_not_our_own_cancelling)
        logging.getLogger("asyncio").addFilter(_no_writing_to_the_gone)
        loop = asyncio.get_running_loop()
        server, closing = _server(live.app, settings.grace + CUT_SECONDS, protocol), live.router.closing
        tasks = [asyncio.create_task(server.serve(sockets=[listener]))]
        servers = [server]
        if admin is not None and live.admin is not None:
            servers.append(_server(live.admin, CUT_SECONDS, protocol))
            tasks.append(asyncio.create_task(servers[1].serve(sockets=[admin])))
        timers: list[asyncio.TimerHandle] = []

        def stop() -> None:
            if closing.draining:
                closing.cut()
                server.force_exit = True
            elif not server.should_exit:
                closing.draining = server.should_exit = True
                timers.append(loop.call_later(settings.grace, closing.cut))

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        try:
            while not (all(each.started for each in servers) or any(task.done() for task in tasks)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # uvicorn has no event for it
            for task in tasks:
                if task.done():
                    await task  # it could not start, and says why
            yield live, tasks[0]
        finally:
            stop()
            await asyncio.gather(tasks[0], return_exceptions=True)
            for each in servers:
                each.should_exit = True
            await asyncio.gather(*tasks, return_exceptions=True)
            for timer in timers:
                timer.cancel()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def _server(app: FastAPI, grace: float, protocol: type[asyncio.Protocol]) -> _Server:
    config = uvicorn.Config(
        app,
        log_level="warning",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=math.ceil(grace),
        server_header=False,
        proxy_headers=False,  # nothing here depends on a client's address, so nobody is believed about it
        lifespan="off",
        http=protocol,
        ws="none",
    )
    return _Server(config)


def _not_our_own_cancelling(record: logging.LogRecord) -> bool:
    """Drop the traceback of a stream that outlived its grace: ending it was the order."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _no_writing_to_the_gone(record: logging.LogRecord) -> bool:
    """Drop asyncio's line for each piece on its way to a client that has just left: `Abandoned` says it."""
    return record.getMessage() != "socket.send() raised exception."
