"""Looks after the workers of `agoge serve --workers N`: starts them, starts the dead again, stops them all.

Every worker is a fresh interpreter (nothing is forked behind running threads) and listens on a socket of its own
on the common port, over which Linux spreads connections evenly. From one socket for all, whoever wakes up first
would take most of them. Serves nothing itself, so it imports nothing heavy.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass

import click

from router.cli.listening import address, bind_one_of_several, reserved
from router.cli.post import Post
from router.core.errors import AgogeError
from router.redis_address import SCHEMES
from router.wiring.settings import Settings, SettingsInvalid

PAUSES = (0.5, 30.0)  # seconds before a dead worker is started again: at first, and at most; doubled in between
STEADY_SECONDS = 60.0  # after so long a life the pauses begin anew
LATE_SECONDS = 8.0  # beyond its grace: what a worker may need to close what it opened, before it is killed
METRICS = "PROMETHEUS_MULTIPROC_DIR"
# The same command line in the same environment of modules, however this process was started.
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from router.cli.main import main; main()"

_log = logging.getLogger("agoge.workers")


class WorkerFailed(AgogeError):
    """A worker could not start; the message is its own."""


@dataclass(frozen=True, slots=True)
class _Child:
    process: asyncio.subprocess.Process
    line: asyncio.StreamReader
    kept_open: asyncio.StreamWriter  # the worker stops when this is closed, and so when this process dies

    async def told(self) -> dict[str, str]:
        """Return what it tells when it is ready or has failed; {} when it ended without a word."""
        try:
            said = await self.line.readline()
        except ConnectionError:
            return {}
        return dict(json.loads(said)) if said else {}

    def signal(self, number: int) -> None:
        if self.process.returncode is None:
            self.process.send_signal(number)


async def look_after(settings: Settings, place: tuple[str, int], admin: tuple[str, int] | None) -> int:
    """Run `settings.workers` workers until a signal comes. Return the exit status.

    Raises SettingsInvalid, PortTaken, and WorkerFailed with a worker's own words when it cannot start.
    """
    if not sys.platform.startswith("linux"):
        raise SettingsInvalid("--workers needs Linux, which spreads connections over them; start one worker here")
    if settings.cache.partition("://")[0] not in SCHEMES:
        raise SettingsInvalid(
            f"--workers {settings.workers} needs a cache that all of them see: feedback and GET /v1/decisions/ID "
            "arrive at any of them; add --cache redis://HOST:PORT/DB"
        )
    settings.secret()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="agoge-metrics-"))
        main = stack.enter_context(reserved(*place))
        operators = None if admin is None else stack.enter_context(reserved(*admin, admin=True))
        return await _Workers(settings, main, operators, folder).run()


class _Workers:
    def __init__(self, settings: Settings, main: socket.socket, admin: socket.socket | None, folder: str) -> None:
        self._settings, self._main, self._admin = settings, main, admin
        self._environment = {**os.environ, METRICS: folder}
        self._children: dict[int, _Child] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, self._stop)
        try:
            # The first one trains the classifier where that is needed, and says what is wrong where something is.
            revision = await self._begin(0, aloud=True)
            others = range(1, 0 if revision is None else self._settings.workers)
            await asyncio.gather(*(self._begin(number) for number in others))
            if not self._stopping.is_set():
                apart = "" if self._admin is None else f", its metrics on {address(self._admin)}"
                many = f"{self._settings.workers} workers{apart}, policy {revision}"
                click.echo(f"Agoge serves {address(self._main)}/v1 with {many}", err=True)
            await asyncio.gather(*(self._keep(number) for number in tuple(self._children)))
        except BaseException:
            self._stop()
            raise
        finally:
            codes = [await child.process.wait() for child in self._children.values()]
        return 0 if all(code in (0, -signal.SIGTERM) for code in codes) else 1

    async def _begin(self, number: int, *, aloud: bool = False) -> str | None:
        """Start a worker that never ran. Return the policy's revision, None when it was stopped meanwhile.

        Raises WorkerFailed.
        """
        child = await self._start(number, aloud=aloud)
        told = await child.told()
        if "ready" in told:
            return told["ready"]
        code = await child.process.wait()
        if self._stopping.is_set():
            return None
        raise WorkerFailed(told.get("failed") or f"worker {number} {_how(code)} before it could serve")

    async def _keep(self, number: int) -> None:
        """Start a worker again whenever it ends, until all are stopped."""
        pause, since, why = PAUSES[0], time.monotonic(), ""
        while True:
            code = await self._children[number].process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - since > STEADY_SECONDS:
                pause = PAUSES[0]
            _log.warning("worker %d %s%s; it is started again in %g s", number, _how(code), why, pause)
            try:
                await asyncio.wait_for(self._stopping.wait(), pause)
                return
            except TimeoutError:
                pause, since = min(pause * 2, PAUSES[1]), time.monotonic()
            try:
                told = await (await self._start(number)).told()
            except OSError as error:  # no memory, no port: later there may be
                told = {"failed": str(error)}
            why = f" ({told['failed']})" if "failed" in told else ""
            if "ready" in told:
                _log.warning("worker %d serves again", number)

    async def _start(self, number: int, *, aloud: bool = False) -> _Child:
        """Start a fresh interpreter on sockets of its own; this process keeps none of them open."""
        if number in self._children:
            self._children[number].kept_open.close()
        ours, theirs = socket.socketpair()
        with ExitStack() as handed:
            handed.enter_context(theirs)
            listen = handed.enter_context(bind_one_of_several(*self._main.getsockname()[:2]))
            files, admin = [theirs.fileno(), listen.fileno()], None
            if self._admin is not None:
                admin = handed.enter_context(bind_one_of_several(*self._admin.getsockname()[:2])).fileno()
                files.append(admin)
            post = Post(number, theirs.fileno(), listen.fileno(), admin, aloud)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _BOOT, json.dumps(sys.path), *sys.argv[1:], "--worker", post.written()),
                stdin=asyncio.subprocess.DEVNULL,
                env=self._environment,
                pass_fds=files,
                process_group=0,  # Ctrl-C in a terminal reaches this process alone, which passes it on once
            )
        child = self._children[number] = _Child(process, *await asyncio.open_connection(sock=ours))
        if self._stopping.is_set():
            child.signal(signal.SIGTERM)
        return child

    def _stop(self) -> None:
        """Pass a signal on; whoever does not end in time is killed."""
        if not self._stopping.is_set():
            late = self._settings.grace + LATE_SECONDS
            asyncio.get_running_loop().call_later(late, self._signal, signal.SIGKILL)
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        for child in self._children.values():
            child.signal(number)


def _how(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
