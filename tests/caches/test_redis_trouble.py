"""RedisCache when the server is dead, slow, confused or overrun: CacheUnavailable, soon, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path

import pytest
import redis

from bench.ports import free_port
from router.caches.redis import SLOW, RedisCache
from router.ports import CacheUnavailable
from tests.caches.servers import Server

KEY = bytes(32)
PATIENT = 30.0
BOUND = (
    10.0  # seconds one call may take on a machine that is busy beyond reason; redis-py's own retries take longer
)


async def outcome(call: Awaitable[object]) -> tuple[str, float]:
    started = time.monotonic()
    try:
        await call
    except CacheUnavailable:
        return "unavailable", time.monotonic() - started
    return "fine", time.monotonic() - started


async def until_fine(cache: RedisCache, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while (await outcome(cache.put(KEY, b"again")))[0] != "fine":
        assert time.monotonic() < deadline, "the cache did not recover"
        await asyncio.sleep(0.05)


async def test_killed_and_restarted_under_load(server: Server) -> None:
    cache = RedisCache(server.tcp_url, timeout=1.0, pause=0.1)
    seen: Counter[str] = Counter()
    slowest = 0.0
    stop = False

    async def caller(number: int) -> None:
        nonlocal slowest
        key = number.to_bytes(32, "big")
        while not stop:
            for call in (cache.put(key, key), cache.get(key)):
                result, seconds = await outcome(call)
                seen[result] += 1
                slowest = max(slowest, seconds)
            await asyncio.sleep(0.005)

    async def until(result: str, more: int) -> None:
        target = seen[result] + more
        async with asyncio.timeout(60):
            while seen[result] < target:  # noqa: ASYNC110 - a count that 16 tasks raise, not one event
                await asyncio.sleep(0.01)

    callers = [asyncio.create_task(caller(number)) for number in range(16)]
    try:
        await until("fine", 200)
        await asyncio.to_thread(server.kill)
        await until("unavailable", 200)
        await asyncio.to_thread(server.start)
        await until("fine", 200)  # by itself: nobody told the cache
        for task in callers:
            assert not task.done(), task.exception()  # another exception would have ended a caller
    finally:
        stop = True
        await asyncio.gather(*callers)
        await cache.aclose()
    assert slowest < BOUND


async def test_a_dead_server_costs_one_attempt_per_pause() -> None:
    now = 0.0
    cache = RedisCache(f"redis://127.0.0.1:{free_port()}", timeout=PATIENT, pause=0.5, clock=lambda: now)
    with pytest.raises(CacheUnavailable, match="ConnectionError"):
        await cache.get(KEY)
    for moment in (0.1, 0.3, 0.499):
        now = moment
        with pytest.raises(CacheUnavailable, match="left alone after a failure"):
            await cache.get(KEY)
    now = 0.5
    said = [str(e) for e in await asyncio.gather(*(cache.get(KEY) for _ in range(20)), return_exceptions=True)]
    assert sum("left alone" not in text for text in said) == 1, "one call tries, the others go on"
    await cache.aclose()


async def test_a_server_that_stands_still(server: Server, inspect: redis.Redis) -> None:
    """DEBUG SLEEP: connections are open, nothing is answered. No late reply reaches a wrong caller."""
    cache = RedisCache(server.unix_url, timeout=0.05, pause=0.05)
    await until_fine(cache)
    sleeping = asyncio.create_task(asyncio.to_thread(inspect.execute_command, "DEBUG", "SLEEP", "1.5"))
    seen: Counter[str] = Counter()
    while not sleeping.done():
        result, seconds = await outcome(cache.get(KEY))
        seen[result] += 1
        assert seconds < BOUND
        await asyncio.sleep(0.01)
    await sleeping
    assert seen["unavailable"] > 0
    await until_fine(cache)
    patient = RedisCache(server.unix_url, timeout=PATIENT)
    for number in range(50):
        await patient.put(number.to_bytes(32, "big"), b"%d" % number)
    await patient.aclose()
    for number in range(50):
        with contextlib.suppress(CacheUnavailable):
            assert await cache.get(number.to_bytes(32, "big")) == b"%d" % number
    await cache.aclose()


async def test_a_port_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        cache = RedisCache(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout=0.02)
        result, seconds = await outcome(cache.get(KEY))
        assert (result, seconds < BOUND) == ("unavailable", True)
        await cache.aclose()


async def test_one_late_answer_is_a_miss_and_only_several_in_a_row_begin_a_pause() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        cache = RedisCache(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout=0.01, pause=1000)
        said = []
        for _ in range(SLOW + 1):
            with pytest.raises(CacheUnavailable) as missed:
                await cache.get(KEY)
            said.append("left alone" in str(missed.value))
        assert said == [False] * SLOW + [True]
        await cache.aclose()


async def test_the_reply_counts_when_it_was_this_process_that_had_no_time(server: Server) -> None:
    cache = RedisCache(server.unix_url, timeout=0.05, pause=1000)
    await until_fine(cache)
    for _ in range(SLOW):
        asking = asyncio.create_task(cache.get(KEY))
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 - the point: nothing else runs here meanwhile
        assert await asking == b"again"
    await cache.aclose()


async def test_a_caller_waits_milliseconds_and_the_connection_longer() -> None:
    """By default 20 ms. The quickest of ten says it on a busy machine too; sockets alone would take a second."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        cache = RedisCache(f"redis://127.0.0.1:{silent.getsockname()[1]}", pause=0)
        waits = [await outcome(cache.get(KEY)) for _ in range(10)]
        assert {result for result, _ in waits} == {"unavailable"}
        assert 0.01 < min(seconds for _, seconds in waits) < 0.5
        await cache.aclose()


async def test_a_server_that_talks_nonsense() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    cache = RedisCache(f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}", timeout=PATIENT)
    assert (await outcome(cache.get(KEY)))[0] == "unavailable"
    await cache.aclose()
    listener.close()


async def test_a_key_of_the_wrong_type_is_a_miss_until_it_is_written(server: Server, inspect: redis.Redis) -> None:
    inspect.lpush(b"agoge:d:" + KEY.hex().encode(), "a list")
    cache = RedisCache(server.unix_url, timeout=PATIENT, pause=1000)
    assert await cache.get(KEY) is None
    await cache.put(KEY, b"value")
    assert await cache.get(KEY) == b"value"
    await cache.aclose()


async def test_a_full_server(server: Server, inspect: redis.Redis) -> None:
    inspect.config_set("maxmemory", "1")
    cache = RedisCache(server.unix_url, timeout=PATIENT)
    with pytest.raises(CacheUnavailable, match="maxmemory"):
        await cache.put(KEY, b"value")
    await cache.aclose()


async def test_more_callers_than_connections(server: Server, inspect: redis.Redis) -> None:
    cache = RedisCache(server.unix_url, timeout=PATIENT, connections=4)
    results = await asyncio.gather(*(outcome(cache.put(n.to_bytes(32, "big"), b"v")) for n in range(300)))
    assert {result for result, _ in results} == {"fine"}
    assert inspect.dbsize() == 300
    assert inspect.info("clients")["connected_clients"] <= 4 + 1  # ours and the one that asks
    await cache.aclose()


async def test_a_server_that_takes_no_more_clients(binary: str, folder: Path) -> None:
    server = Server(binary, folder, port=free_port(), options=("--maxclients", "1"))
    server.start()
    holder = redis.Redis(unix_socket_path=str(server.socket))
    holder.ping()
    cache = RedisCache(server.tcp_url, timeout=PATIENT)
    assert (await outcome(cache.get(KEY)))[0] == "unavailable"
    await cache.aclose()
    holder.close()
    server.kill()


async def test_a_caller_that_is_cancelled_harms_nobody(server: Server) -> None:
    cache = RedisCache(server.unix_url, timeout=PATIENT, connections=1)
    for number in range(30):
        await cache.put(number.to_bytes(32, "big"), b"%d" % number)
    for number in range(30):
        call = asyncio.create_task(cache.get(number.to_bytes(32, "big")))
        await asyncio.sleep(0)
        call.cancel()
        other = (number + 1) % 30
        assert await cache.get(other.to_bytes(32, "big")) == b"%d" % other
    await cache.aclose()


async def test_a_closed_cache_is_unavailable(server: Server) -> None:
    cache = RedisCache(server.unix_url, timeout=PATIENT)
    await until_fine(cache)
    await cache.aclose()
    await cache.aclose()
    with pytest.raises(CacheUnavailable, match="closed"):
        await cache.get(KEY)
