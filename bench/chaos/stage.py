"""A whole installation of processes: the router, two engines, a Valkey behind a proxy, and who puts load on it.

Starts, stops and looks; knows no fault and judges nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import redis

from bench.chaos.engine import PACE
from bench.chaos.footprint import Footprint, footprint
from bench.chaos.policies import FIRST, KEYS, catalogue
from bench.chaos.proxy import Proxy
from bench.ports import free_port
from tests.caches.servers import Server, binaries

GRACE_SECONDS = 5.0  # that open answers have when the router is told to stop
WORKERS, PAUSE = 6, 0.1  # of the load: how many ask at once, and seconds between two requests of one
CONNECT, TOKEN = 2.0, 2.5  # limits of the engines in seconds: short, so that a hanging one is seen soon
START_SECONDS = 300.0
_ROOT = Path(__file__).resolve().parents[2]


class TookTooLong(RuntimeError):
    """Something that must come to pass did not; the message says what."""


async def until(what: str, done: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> float:
    """Wait until `done`; return the seconds that it took. Raises TookTooLong."""
    started = time.monotonic()
    while not await done():
        if time.monotonic() - started > seconds:
            raise TookTooLong(f"waited {seconds:g} s for {what}")
        await asyncio.sleep(0.05)
    return time.monotonic() - started


def _run(*command: str, **options: Any) -> subprocess.Popen[bytes]:
    quiet = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
    environment = os.environ | quiet | options.pop("environment", {})
    return subprocess.Popen([sys.executable, "-m", *command], cwd=_ROOT, env=environment, **options)


def lines(file: Path) -> list[dict[str, Any]]:
    """Return the JSON lines of a file that is perhaps still being written."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text("utf-8").split("\n")[:-1] if line.startswith("{")]


@dataclass
class EngineProcess:
    """One fake engine: killed and started again on the same port with the same adapters."""

    name: str
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def records(self) -> Path:
        return self.folder / f"{self.name}.jsonl"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; it listens a moment later."""
        held = catalogue().held_by(self.name)
        self.process = _run("bench.chaos.engine", str(self.port), str(self.records), *held)

    def kill(self) -> None:
        """End it like `kill -9`."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass
class LoadProcess:
    """The load: what it recorded so far, and how to end it."""

    process: subprocess.Popen[bytes]
    file: Path

    def records(self) -> list[dict[str, Any]]:
        """Return every request that is over."""
        return lines(self.file)

    async def stop(self) -> list[dict[str, Any]]:
        """Let what is under way end; return every request. Raises TookTooLong."""
        self.process.terminate()

        async def ended() -> bool:
            return self.process.poll() is not None

        await until("the load to end", ended, 60)
        if self.process.returncode != 0:
            raise TookTooLong(f"the load ended with {self.process.returncode}")
        return self.records()


class Stage:
    """Everything that runs. `data` is where the trained classifier is; `folder` must have a short path."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.data, self.port = folder, data, free_port()
        self.policy, self.log, self.tasks = folder / "policy.yaml", folder / "serve.log", folder / "tasks.json"
        self.valkey = Server(
            binaries()["valkey"],
            folder,
            port=free_port(),
            options=("--appendonly", "yes", "--loglevel", "warning"),
        )
        self.proxy = Proxy(free_port(), self.valkey.port)
        self.engines = {name: EngineProcess(name, folder) for name in ("primary", "spare")}
        self.process: subprocess.Popen[bytes] | None = None
        self.http: aiohttp.ClientSession
        self._loads: list[LoadProcess] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def write(self, policy: str) -> None:
        """Put a policy in place, at once and whole, as an editor does."""
        scratch = self.policy.with_suffix(".new")
        scratch.write_text(policy, "utf-8")
        scratch.replace(self.policy)

    def control(self) -> redis.Redis:
        """Return a client of the Valkey itself, past the proxy and without a password."""
        return redis.Redis(unix_socket_path=str(self.valkey.socket))

    async def open(self) -> None:
        """Start everything and wait until every blend is served."""
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        self.write(FIRST)
        keys = "".join(f"  {key}: {{ tenant: {tenant} }}\n" for key, tenant in KEYS.items())
        (self.folder / "keys.yaml").write_text(f"keys:\n{keys}", "utf-8")
        await asyncio.to_thread(self.valkey.start)
        await self.proxy.mend()
        for engine in self.engines.values():
            engine.start()
            await self.engine_up(engine.name)
        await self.serve()

    async def serve(self) -> None:
        """Start the router and wait until it is ready."""
        limits = f"canary=off&connect={CONNECT}&first_token={TOKEN}&between_tokens={TOKEN}"
        at = {"primary": "primary", "spare": "spare", "other": "spare"}
        backends = [f"{name}=vllm+{self.engines[engine].url}?{limits}" for name, engine in at.items()]
        secret = {"AGOGE_CHAOS_TASKS": str(self.tasks), "AGOGE_CACHE_SECRET": "a secret for chaos only"}
        with self.log.open("ab") as log:
            self.process = _run(
                *("bench.chaos.watched", "serve", "--policy", str(self.policy), "--port", str(self.port)),
                *("--grace", str(GRACE_SECONDS)),
                *("--data", str(self.data), "--keys", str(self.folder / "keys.yaml")),
                *("--cache", f"redis://127.0.0.1:{self.proxy.port}/0"),
                *(word for backend in backends for word in ("--backend", backend)),
                stderr=log,
                environment=secret,
            )
        await until("the router to be ready", self.ready, START_SECONDS)

    async def ready(self) -> bool:
        """Say whether every blend is served. Raises TookTooLong when the router has ended."""
        if self.process is not None and self.process.poll() is not None:
            raise TookTooLong(f"the router ended: {self.log.read_text('utf-8')[-2000:]}")
        return await self._status(f"{self.url}/readyz") == 200

    async def engine_up(self, name: str) -> None:
        """Wait until an engine answers."""

        async def up() -> bool:
            return await self._status(f"{self.engines[name].url}/health") == 200

        await until(f"the engine {name}", up, 60)

    async def behave(self, name: str, fault: str, pace: float = PACE) -> None:
        """Tell an engine how to behave from now on."""
        told = {"fault": fault, "pace": pace}
        async with self.http.post(f"{self.engines[name].url}/chaos", json=told) as response:
            response.raise_for_status()

    async def open_answers(self) -> int:
        """Return how many answers are open at the engines."""
        found = 0
        for engine in self.engines.values():
            async with self.http.get(f"{engine.url}/chaos") as response:
                found += (await response.json())["open"]
        return found

    async def say(self, text: str, **more: Any) -> tuple[int, dict[str, str]]:
        """Ask once, as the first tenant: status and headers."""
        body = {"messages": [{"role": "user", "content": text}], **more}
        headers = {"Authorization": f"Bearer {next(iter(KEYS))}"}
        async with self.http.post(f"{self.url}/v1/chat/completions", json=body, headers=headers) as response:
            await response.read()
            return response.status, {name.lower(): value for name, value in response.headers.items()}

    def load(self, *, workers: int = WORKERS, pause: float = PAUSE, leaves: int = 0) -> LoadProcess:
        """Start the load in a process of its own."""
        file = self.folder / f"load-{len(self._loads)}.jsonl"
        words = (self.url, str(file), str(workers), str(pause), str(leaves))
        load = LoadProcess(_run("bench.chaos.load", *words), file)
        self._loads.append(load)
        return load

    def footprint(self) -> Footprint:
        """Look at the router's process."""
        engines = [engine.port for engine in self.engines.values()]
        return footprint(self.pid, self.port, self.proxy.port, engines, self.tasks)

    def signal(self, number: signal.Signals) -> None:
        """Send the router a signal."""
        os.kill(self.pid, number)

    def kept(self) -> set[str]:
        """Return the ids of the decisions whose feedback the Valkey has."""
        with self.control() as client:
            entries: Any = client.xrange("agoge:outcomes")
        return {json.loads(fields[b"outcome"])["decision_id"] for _, fields in entries}

    async def close(self) -> None:
        """End everything, the router first."""
        processes: Sequence[subprocess.Popen[bytes] | None] = [
            *(load.process for load in self._loads),
            self.process,
        ]
        for process in processes:
            if process is not None and process.poll() is None:
                process.kill()
                await asyncio.to_thread(process.wait)
        for engine in self.engines.values():
            await asyncio.to_thread(engine.kill)
        await self.proxy.cut()
        await asyncio.to_thread(self.valkey.kill)
        await self.http.close()

    async def _status(self, url: str) -> int:
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with self.http.get(url, timeout=aiohttp.ClientTimeout(total=5)) as response:
                return response.status
        return 0


@asynccontextmanager
async def staged(data: Path) -> AsyncIterator[Stage]:
    """Start everything, yield it, and end it however the block ends."""
    with TemporaryDirectory(prefix="agoge-") as folder:  # a unix socket's path must be short
        stage = Stage(Path(folder), data)
        try:
            await stage.open()
            yield stage
        finally:
            await stage.close()
