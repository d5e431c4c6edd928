"""A failover behind one address: the old master becomes a replica, and new connections reach the new one."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis

from bench.chaos.proxy import Proxy
from bench.ports import free_port
from router.caches.redis import RedisCache
from router.core.outcome import Outcome
from router.outcomes.redis import RedisOutcomes
from router.ports import CacheUnavailable, OutcomesUnavailable
from tests.caches.servers import Server

KEY = bytes(32)
OUTCOME = Outcome("dec_1", "right", "physics", "default", 1.0)


@pytest.fixture
def masters(binary: str) -> Iterator[tuple[Server, Server]]:
    with tempfile.TemporaryDirectory(prefix="agoge-") as one, tempfile.TemporaryDirectory(prefix="agoge-") as two:
        both = [
            Server(binary, Path(folder), port=free_port(), options=("--appendonly", "yes"))
            for folder in (one, two)
        ]
        for server in both:
            server.start()
        yield both[0], both[1]
        for server in both:
            server.kill()


@pytest_asyncio.fixture
async def address(masters: tuple[Server, Server]) -> AsyncIterator[Proxy]:
    proxy = Proxy(free_port(), masters[0].port)
    await proxy.mend()
    yield proxy
    await proxy.cut()


def fail_over(masters: tuple[Server, Server], address: Proxy) -> None:
    """Make the first a replica; only whoever connects anew is led to the second."""
    with redis.Redis(unix_socket_path=str(masters[0].socket)) as old:
        old.replicaof("127.0.0.1", "1")
    address.target = masters[1].port


async def test_the_cache_moves_to_the_new_master(masters: tuple[Server, Server], address: Proxy) -> None:
    cache = RedisCache(f"redis://127.0.0.1:{address.port}", timeout=10.0)
    await cache.put(KEY, b"before")
    fail_over(masters, address)
    with pytest.raises(CacheUnavailable, match="ReadOnlyError"):
        await cache.put(KEY, b"lost")
    await cache.put(KEY, b"after")
    assert await cache.get(KEY) == b"after"
    await cache.aclose()


async def test_feedback_moves_to_the_new_master(masters: tuple[Server, Server], address: Proxy) -> None:
    outcomes = RedisOutcomes(f"redis://127.0.0.1:{address.port}", seconds=10.0)
    await outcomes.add(OUTCOME)
    await asyncio.to_thread(fail_over, masters, address)
    with pytest.raises(OutcomesUnavailable, match="ReadOnlyError"):
        await outcomes.add(OUTCOME)
    await outcomes.add(OUTCOME)
    assert [outcome async for outcome in outcomes.read()] == [OUTCOME]  # the new master began empty
    await outcomes.aclose()
