"""Outcomes in a real Valkey's stream: kept on its disk, or refused."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import redis

from bench.ports import free_port
from router.core.outcome import Outcome
from router.outcomes.redis import PAGE, RedisOutcomes
from router.ports import OutcomesUnavailable
from tests.caches.servers import Server
from tests.outcomes.conftest import Start

STREAM = "agoge:outcomes"


def outcome(id: str, text: str | None = None) -> Outcome:
    return Outcome(id, "wrong", "physics", "default", 1.5, "editor", "sport", text, "slack")


async def ids(store: RedisOutcomes) -> list[str]:
    return [each.decision_id async for each in store.read()]


def look(server: Server) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(server.socket))


async def test_what_is_kept_is_a_stream_entry_that_others_read_in_order(server: Server) -> None:
    one, other = RedisOutcomes(server.tcp_url), RedisOutcomes(server.unix_url)
    for number in range(4):
        await (one, other)[number % 2].add(outcome(f"dec_{number}", "небо\nи море"))
    assert await ids(one) == await ids(other) == [f"dec_{number}" for number in range(4)]
    whole = {each.decision_id: each async for each in other.read()}
    assert whole["dec_0"] == outcome("dec_0", "небо\nи море")
    with look(server) as client:
        assert client.xlen(STREAM) == 4
        assert client.ttl(STREAM) == -1
    await one.aclose()
    await other.aclose()


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(server: Server, start: Start) -> None:
    store = RedisOutcomes(server.tcp_url, seconds=3)
    acknowledged: list[str] = []

    async def write(name: str) -> None:
        for number in range(10_000):
            try:
                await store.add(outcome(f"{name}-{number}"))
            except OutcomesUnavailable:
                return
            acknowledged.append(f"{name}-{number}")

    writers = asyncio.gather(*(write(name) for name in "abc"))
    await asyncio.sleep(3)
    server.kill()
    await writers
    await store.aclose()
    again = start("--appendonly", "yes", folder=server.socket.parent)
    later = RedisOutcomes(again.tcp_url)
    found = await ids(later)
    assert len(acknowledged) > 3
    assert set(acknowledged) <= set(found)
    await later.add(outcome("after"))
    assert (await ids(later))[-1] == "after"
    await later.aclose()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "writes nothing to disk; start it with --appendonly yes"),
        (("--appendonly", "yes", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"), "allkeys-lru"),
        (("--appendonly", "yes", "--rename-command", "WAITAOF", "NOSUCH"), "has no WAITAOF"),
        (("--appendonly", "yes", "--rename-command", "XADD", "NOSUCH"), "unknown command"),
    ],
)
async def test_a_server_that_may_forget_is_refused_and_left_as_it_was(
    start: Start, options: tuple[str, ...], says: str
) -> None:
    server = start(*options)
    store = RedisOutcomes(server.tcp_url)
    with pytest.raises(OutcomesUnavailable, match=says):
        await store.add(outcome("dec_0"))
    assert await ids(store) == []
    await store.aclose()


async def test_a_server_that_pushes_out_only_what_expires_is_taken(start: Start) -> None:
    server = start("--appendonly", "yes", "--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru")
    store = RedisOutcomes(server.tcp_url)
    await store.add(outcome("dec_0"))
    assert await ids(store) == ["dec_0"]
    await store.aclose()


async def test_no_server_a_wrong_password_and_silence_are_unavailable_without_the_password(start: Start) -> None:
    server = start("--appendonly", "yes", "--requirepass", "hunter2")
    gone = f"redis://:hunter2@127.0.0.1:{free_port()}/0"
    wrong = server.tcp_url.replace("redis://", "redis://:hunter3@")
    for url in (gone, wrong, server.tcp_url):
        store = RedisOutcomes(url, seconds=2)
        for call in (store.add(outcome("dec_0", "a marker")), ids(store)):
            with pytest.raises(OutcomesUnavailable) as caught:
                await call
            assert "hunter" not in str(caught.value)
            assert "marker" not in str(caught.value)
        await store.aclose()
    store = RedisOutcomes(server.tcp_url.replace("redis://", "redis://:hunter2@"), seconds=0.3)
    await store.add(outcome("dec_0"))
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    with pytest.raises(OutcomesUnavailable):
        await asyncio.wait_for(store.add(outcome("dec_1")), 20)
    os.kill(server.process.pid, signal.SIGCONT)
    await store.aclose()


async def test_more_than_a_page_and_a_damaged_entry(server: Server) -> None:
    told: list[str] = []
    store = RedisOutcomes(server.tcp_url, tell=told.append)
    with look(server) as client:
        line = b'{"decision_id":"dec_%d","verdict":"right","decided":null,"tenant":"default","at":1}'
        pipe = client.pipeline()
        for number in range(2 * PAGE + 1):
            pipe.xadd(STREAM, {"outcome": line % number if number != 7 else b'{"text":"a marker'})
        pipe.execute()
    found = await ids(store)
    assert found == [f"dec_{number}" for number in range(2 * PAGE + 1) if number != 7]
    assert len(told) == 1
    assert "skipped: not JSON" in told[0]
    assert "marker" not in told[0]
    await store.aclose()


def test_a_wrong_url_is_refused_without_its_password() -> None:
    with pytest.raises(ValueError, match="expected redis://") as caught:
        RedisOutcomes("redis://:hunter2@h:port/0")
    assert "hunter2" not in str(caught.value)
