"""RedisCache against real servers: what it stores, for how long, and what nobody may read there."""

from __future__ import annotations

import asyncio
import json

import pytest
import redis

from router.caches.redis import RedisCache
from router.core.blend import Blend
from router.core.decision import Decision, Reason, Verdict
from router.core.key import decision_key
from router.ports import CacheUnavailable
from tests.caches.servers import Server

KEY = bytes(range(32))
PATIENT = 30.0  # seconds: how slow a busy machine may be where slowness is not the subject


async def test_get_returns_what_was_put(server: Server) -> None:
    for url in (server.unix_url, f"{server.unix_url}?db=1", f"{server.tcp_url}/2"):
        cache = RedisCache(url, timeout=PATIENT)
        assert await cache.get(KEY) is None
        await cache.put(KEY, b"\x00\xff value")
        assert await cache.get(KEY) == b"\x00\xff value"
        assert await cache.get(KEY[::-1]) is None
        await cache.aclose()


async def test_what_lies_in_the_server(server: Server, inspect: redis.Redis) -> None:
    cache = RedisCache(server.unix_url, timeout=PATIENT, ttl=120, prefix=b"team:")
    await cache.put(KEY, b"value")
    await cache.aclose()
    name = b"team:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    assert inspect.keys("*") == [name]
    assert inspect.get(name) == b"value"
    assert 60_000 < inspect.pttl(name) <= 120_000


async def test_an_entry_expires(server: Server, inspect: redis.Redis) -> None:
    cache = RedisCache(server.unix_url, timeout=PATIENT, ttl=0.05)
    await cache.put(KEY, b"value")
    await asyncio.sleep(0.2)
    assert await cache.get(KEY) is None
    assert inspect.dbsize() == 0
    await cache.aclose()


async def test_one_round_trip_per_call_and_nothing_else(server: Server, inspect: redis.Redis) -> None:
    """The server itself counts the commands: no HELLO, no CLIENT SETINFO, no PING, no retry."""
    inspect.config_resetstat()
    cache = RedisCache(server.tcp_url, timeout=PATIENT)
    await cache.put(KEY, b"value")
    for _ in range(5):
        await cache.get(KEY)
    await cache.aclose()
    counted = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in inspect.info("commandstats").items()}
    ours = {name: calls for name, calls in counted.items() if name not in ("config|resetstat", "info")}
    assert ours == {"set": 1, "mget": 5}


async def test_many_keys_are_one_round_trip(server: Server, inspect: redis.Redis) -> None:
    inspect.config_resetstat()
    cache = RedisCache(server.tcp_url, timeout=PATIENT)
    await cache.put(KEY, b"value")
    assert await cache.get_many([KEY[::-1], KEY, KEY[1:]]) == [None, b"value", None]
    assert await cache.get_many([]) == []
    await cache.aclose()
    counted = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in inspect.info("commandstats").items()}
    assert {name: calls for name, calls in counted.items() if name not in ("config|resetstat", "info")} == {
        "set": 1,
        "mget": 1,
    }


async def test_one_value_that_is_too_large_spoils_its_look_up(server: Server, inspect: redis.Redis) -> None:
    cache = RedisCache(server.unix_url, timeout=PATIENT, max_value_bytes=10)
    await cache.put(KEY, b"value")
    inspect.set(b"agoge:d:" + KEY[1:].hex().encode(), b"x" * 11)
    with pytest.raises(CacheUnavailable, match="11 bytes is over the 10 allowed"):
        await cache.get_many([KEY, KEY[1:]])
    await cache.aclose()


async def test_a_value_over_the_bound_is_neither_stored_nor_taken(server: Server, inspect: redis.Redis) -> None:
    cache = RedisCache(server.unix_url, timeout=PATIENT, max_value_bytes=10)
    await cache.put(KEY, b"0123456789")
    with pytest.raises(CacheUnavailable, match="11 bytes is over the 10 allowed"):
        await cache.put(KEY, b"0123456789A")
    assert await cache.get(KEY) == b"0123456789"
    inspect.set(b"agoge:d:" + KEY.hex().encode(), b"x" * 11)
    with pytest.raises(CacheUnavailable, match="11 bytes is over the 10 allowed"):
        await cache.get(KEY)
    await cache.aclose()


async def test_nothing_of_a_prompt_can_be_read_in_the_server(server: Server, inspect: redis.Redis) -> None:
    """Store real decisions for prompts that carry a marker, then read the whole server back."""
    marker = "СекретZebra42"
    cache = RedisCache(server.unix_url, timeout=PATIENT)
    blend = Blend.of("base", {"core": 1.0, "physics": 0.8}, {"core": "./core", "physics": "./physics"})
    verdicts = (Verdict("physics", True, Reason.SCORED, 0.8, "physics", 0.9, 0.5),)
    decision = Decision(blend, verdicts, Reason.SCORED, "physics", {"physics": 0.9}, False, "rev", "cls")
    for number in range(20):
        key = decision_key(
            b"a secret of some length", policy_revision="rev", classifier_fingerprint="cls", tenant="default",
            role=None, asked=None, prefix=[f"почему {marker} {number}?", marker],
        )  # fmt: skip
        await cache.put(key, decision.to_json().encode())
    await cache.aclose()
    stored = [(name, inspect.get(name) or b"") for name in inspect.scan_iter(count=1000)]
    assert len(stored) == 20
    dump = b"\n".join(name + value for name, value in stored)
    utf8 = marker.encode()
    spellings = [
        utf8,
        utf8.hex().encode(),
        marker.encode("utf-16-le"),
        json.dumps(marker)[1:-1].encode(),
        b"Zebra",
    ]
    assert not [spelling for spelling in spellings if spelling.lower() in dump.lower()]
    assert b"physics" in dump, "the dump is not empty of decisions, only of prompts"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("http://localhost", "not a Redis URL"),
        ("redis://", "names no host"),
        ("redis://host/first", "a database that is not a number"),
        ("redis://:hun/ter2@host:6379", "percent-encoded"),
        ("redis://:hunter2@host:port", "cannot be read"),
        ("redis://host?ssl=hunter2", "options other than db"),
        ("redis://host#hunter2", "fragment"),
        ("unix://", "names no socket"),
    ],
)
def test_a_wrong_url_is_refused_without_repeating_it(wrong: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        RedisCache(wrong)
    assert "hun" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "wrong", [{"ttl": 0}, {"ttl": float("inf")}, {"timeout": 0}, {"pause": -1}, {"connections": 0}]
)
def test_bounds_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        RedisCache("redis://localhost", **wrong)  # type: ignore[arg-type] # the table mixes int and float


async def test_the_password_shows_nowhere(folder: object, server: Server, inspect: redis.Redis) -> None:
    inspect.config_set("requirepass", "hunter2!")
    right = RedisCache(server.tcp_url.replace("//", "//:hunter2%21@"), timeout=PATIENT)
    await right.put(KEY, b"value")
    assert await right.get(KEY) == b"value"
    wrong = RedisCache(server.tcp_url.replace("//", "//:hunter3%21@"), timeout=PATIENT)
    none = RedisCache(server.tcp_url, timeout=PATIENT)
    said = [repr(right), repr(wrong)]
    for cache in (wrong, none):
        with pytest.raises(CacheUnavailable) as caught:
            await cache.get(KEY)
        said += [str(caught.value), repr(caught.value)]
        assert caught.value.__cause__ is None
        await cache.aclose()
    await right.aclose()
    assert not [text for text in said if "hunter" in text]
    assert repr(right) == f"RedisCache({server.tcp_url}/0, ttl=600, timeout=30)"


async def test_rediss_speaks_tls() -> None:
    """RFC 8446, 5.1: a TLS connection opens with a handshake record, content type 22, version 3.x."""
    first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first.set_result(await reader.read(2))
        writer.close()

    listener = await asyncio.start_server(listen, "127.0.0.1", 0)
    cache = RedisCache(f"rediss://:hunter2@127.0.0.1:{listener.sockets[0].getsockname()[1]}", timeout=PATIENT)
    with pytest.raises(CacheUnavailable):
        await cache.get(KEY)
    assert await first == b"\x16\x03"
    await cache.aclose()
    listener.close()
