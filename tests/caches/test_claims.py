"""Who comes first among replicas, decided by a real server."""

from __future__ import annotations

import asyncio

import pytest
import redis

from router.caches import open_claims
from router.caches.redis import RedisCache
from router.ports import CacheUnavailable
from tests.caches.servers import Server

KEY = bytes(range(32))


async def test_of_many_who_ask_at_once_one_is_first(server: Server, inspect: redis.Redis) -> None:
    caches = [RedisCache(server.unix_url, timeout=30.0) for _ in range(4)]
    asked = await asyncio.gather(*(cache.claim(KEY, 60) for cache in caches * 5))
    assert sorted(asked) == [False] * 19 + [True]
    assert await caches[0].claim(KEY[::-1], 60) is True
    assert all(50_000 < inspect.pttl(name) <= 60_000 for name in inspect.keys("*"))
    for cache in caches:
        await cache.aclose()


async def test_a_claim_ends(server: Server) -> None:
    cache = RedisCache(server.unix_url, timeout=30.0)
    assert await cache.claim(KEY, 0.05)
    await asyncio.sleep(0.2)
    assert await cache.claim(KEY, 0.05)
    await cache.aclose()


async def test_a_dead_server_is_no_answer(server: Server) -> None:
    cache = RedisCache(server.unix_url, timeout=1.0)
    server.kill()
    with pytest.raises(CacheUnavailable):
        await cache.claim(KEY, 60)
    await cache.aclose()


async def test_claims_are_kept_apart_from_decisions_in_the_same_database(
    server: Server, inspect: redis.Redis
) -> None:
    claims = open_claims(f"{server.unix_url}?db=0&ttl=5&timeout=0.01", "slack")
    assert claims is not None
    assert await claims.claim(KEY, 60)
    assert [name.split(b":")[:2] for name in inspect.keys("*")] == [[b"agoge", b"slack"]]
    await claims.aclose()


@pytest.mark.parametrize("spec", ["memory:", "memory:?entries=5", "none:"])
def test_without_a_server_there_is_nobody_to_ask(spec: str) -> None:
    assert open_claims(spec, "slack") is None
