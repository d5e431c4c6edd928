"""What can go wrong with the Redis that holds decisions and feedback. No request may notice, feedback apart."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from bench.chaos.fault import Bites, Fault, logged, remembered
from bench.chaos.judge import Allowed, Record
from bench.chaos.stage import Stage

Inject = Callable[[Stage], AbstractAsyncContextManager[None]]
SLOW = 0.3  # seconds each way: far above the cache's own limit
_SECRET = "not ours"  # noqa: S105 - the password that Valkey is given and the router is not


@asynccontextmanager
async def killed(stage: Stage) -> AsyncIterator[None]:
    """Kill the server; its port refuses."""
    await asyncio.to_thread(stage.valkey.kill)
    await stage.proxy.cut()
    yield
    await asyncio.to_thread(stage.valkey.start)
    await stage.proxy.mend()


@asynccontextmanager
async def restarted(stage: Stage) -> AsyncIterator[None]:
    """Kill it and start it again, at once."""
    async with killed(stage):
        pass
    yield


@asynccontextmanager
async def paused(stage: Stage) -> AsyncIterator[None]:
    """Stop the process: connections stand, nobody answers."""
    process = stage.valkey.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def slow(stage: Stage) -> AsyncIterator[None]:
    """Delay everything on the line."""
    stage.proxy.delay = SLOW
    try:
        yield
    finally:
        stage.proxy.delay = 0.0


@asynccontextmanager
async def full(stage: Stage) -> AsyncIterator[None]:
    """Leave no memory for another write."""
    with stage.control() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1mb")
        yield
        client.config_set("maxmemory", "0")


@asynccontextmanager
async def read_only(stage: Stage) -> AsyncIterator[None]:
    """Make it the replica of a master that is not there, as after a failover."""
    with stage.control() as client:
        client.replicaof("127.0.0.1", "1")
        yield
        client.replicaof("NO", "ONE")


@asynccontextmanager
async def locked(stage: Stage) -> AsyncIterator[None]:
    """Ask for a password that the router does not have, and end its connections."""
    with stage.control() as client:
        client.config_set("requirepass", _SECRET)
        client.client_kill_filter(_type="normal", skipme=True)
        yield
        client.config_set("requirepass", "")


def _feedback(record: Record) -> bool:
    return bool(record["kind"] == "feedback")


_FAILED = logged("CacheFailed")


def _fault(name: str, what: str, told: str, inject: Inject, bites: Bites = _FAILED) -> Fault:
    return Fault(
        "Redis",
        f"redis-{name}",
        what,
        told,
        inject,
        Allowed(frozenset({"outcomes_unavailable"}), _feedback),
        bites,
        remembered,
        lambda record: not _feedback(record),
    )


FAULTS = [
    _fault("killed", "it is killed", "Every prompt is decided anew (about 2 ms more).", killed),
    _fault(
        "paused", "it hangs",
        "As killed. One request in half a second waits 20 ms for it, the others do not ask.", paused,
    ),
    _fault("slow", f"it answers {SLOW:g} s late", "As hanging.", slow),
    _fault("full", "it is full (`maxmemory`, `noeviction`)", "What it holds is used, nothing new is kept.", full),
    _fault(
        "read-only", "it is a replica (`READONLY`)",
        "What it holds is used, nothing new is kept. Connections are made anew, so a failover behind one address "
        "is followed.", read_only,
    ),
    _fault(
        "restarted", "it is restarted", "Nothing; the connections are made anew.", restarted,
        lambda log, records: True,  # it may be back before anybody asks
    ),
    _fault("password", "it wants another password", "As killed, until the password is right.", locked),
]  # fmt: skip
