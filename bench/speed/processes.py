"""What is measured, as processes of their own: started, waited for, asked what they have cost, and ended.

CPU seconds are user + system of the process and its children, as the kernel counts them: unlike a latency they
hardly depend on who else uses the machine. Knows no figures and no load.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.ports import free_port
from bench.speed.load import Caller, LoadFailed, request
from router.core.reachable import reachable
from router.policy_file import load_policies

POLICY = Path("policies/default.yaml")
READY_SECONDS = 180.0
ROOM = "\ncapacity: {engine: {at_once: 1024}}\n"  # measured is what requests cost, not who is refused
SECRET = {"AGOGE_CACHE_SECRET": "a secret for measuring only, 32 bytes and more"}
TABLES = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}


@dataclass(frozen=True)
class Served:
    """A live server: its root, the process, and how many seconds it took until it answered."""

    url: str
    process: psutil.Process
    ready_seconds: float

    def cpu(self) -> float:
        """Return the CPU seconds used so far, children included."""
        return sum(_cpu(each) for each in (self.process, *self.process.children(recursive=True)))

    def rss(self) -> float:
        """Return the resident memory in MB, children included."""
        found = (self.process, *self.process.children(recursive=True))
        return float(sum(each.memory_info().rss for each in found) / 1e6)


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


@contextmanager
def process(
    command: Sequence[str],
    url: str,
    path: str,
    *,
    cores: Sequence[int] | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float = READY_SECONDS,
) -> Iterator[Served]:
    """Run a Python module until the end of the block; begins once GET `path` answers 200.

    `cores` are the only ones it may use. Raises LoadFailed with what it said when it ends or does not answer.
    """
    with tempfile.TemporaryFile() as said:
        started = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=said,
            stderr=said,
            env={**os.environ, **TABLES, **(environment or {})},
        )
        try:
            if cores is not None:
                os.sched_setaffinity(child.pid, cores)
            while not _answers(url, path):
                if child.poll() is not None or time.monotonic() > started + seconds:
                    said.seek(0)
                    text = said.read().decode("utf-8", "replace")[-2000:]
                    raise LoadFailed(f"{' '.join(command)} does not serve (exit status {child.poll()}): {text}")
                time.sleep(0.02)
            yield Served(url, psutil.Process(child.pid), time.monotonic() - started)
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _answers(url: str, path: str) -> bool:
    try:
        with Caller(url, limit=2) as caller:
            caller.ask(request(f"{url}{path}"))
    except (OSError, LoadFailed):
        return False
    return True


@contextmanager
def stub_engine(*, tokens: int = 3, gap: float = 0.0, cores: Sequence[int] | None = None) -> Iterator[Served]:
    """Run the stub engine; `gap` is in milliseconds."""
    url = _address()
    command = ["bench.stub_engine", url.rpartition(":")[2], "--tokens", str(tokens), "--gap", str(gap)]
    with process(command, url, "/health", cores=cores, seconds=20) as served:
        yield served


@contextmanager
def agoge(
    engine: str,
    *,
    policy: Path = POLICY,
    options: Sequence[str] = (),
    cores: Sequence[int] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Served]:
    """Run `agoge serve` on a policy whose only engine is a TGI at `engine` that holds every blend."""
    blends = ",".join(blend.id for blend in reachable(load_policies(policy).profile("default", None)))
    url = _address()
    with tempfile.TemporaryDirectory() as folder:
        served = Path(folder) / "policy.yaml"
        text = policy.read_text("utf-8")
        served.write_text(text.replace('"embedded:"', "engine") + ROOM, "utf-8")
        command = ["router.cli", "serve", "--no-log", "--port", url.rpartition(":")[2], "--policy", str(served)]
        # A stub has nothing to prove, and no route to prove it by.
        command += ["--backend", f"engine=tgi+{engine}?names={blends}&canary=off", "--outcomes", "none:", *options]
        with process(command, url, "/readyz", cores=cores, environment={**SECRET, **(environment or {})}) as live:
            yield live


@contextmanager
def valkey(*, cores: Sequence[int] | None = None) -> Iterator[str]:
    """Run a real Valkey on a loopback port that keeps nothing; yield its URL."""
    from tests.caches.servers import Server, binaries

    with tempfile.TemporaryDirectory() as folder:
        server = Server(binaries()["valkey"], Path(folder), port=free_port())
        server.start()
        try:
            assert server.process is not None
            if cores is not None:
                os.sched_setaffinity(server.process.pid, cores)
            yield server.tcp_url
        finally:
            server.kill()


def apart() -> tuple[list[int] | None, list[int] | None]:
    """Return the cores of what is measured, one, and of everything else; None for both where there is one core.

    A server that may use one core tells requests per second per core without any arithmetic.
    """
    cores = sorted(os.sched_getaffinity(0))
    return ([cores[0]], cores[1:]) if len(cores) > 1 else (None, None)


def _address() -> str:
    return f"http://127.0.0.1:{free_port()}"
