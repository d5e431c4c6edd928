"""Requests per minute counted by a real server for several replicas."""

from __future__ import annotations

import asyncio

import pytest
import redis

from router.caches import open_meter
from router.caches.redis import RedisCache
from router.core.quota import MINUTE
from router.ports import CacheUnavailable
from tests.caches.servers import Server

KEYS = [bytes(range(32)), bytes(range(32, 64))]
TEN = MINUTE // 10
HOUR = 60 * MINUTE


async def test_of_many_who_ask_at_once_as_many_go_as_the_limit_says(server: Server, inspect: redis.Redis) -> None:
    meters = [RedisCache(server.unix_url, timeout=30.0) for _ in range(4)]
    answers = await asyncio.gather(*(meter.spend(KEYS[:1], [TEN]) for meter in meters * 5))
    allowed = sum(fits for fits, _ in answers)
    assert 10 <= allowed <= 12, "a slow machine gives some back meanwhile"
    [name] = inspect.keys("*")
    assert 40_000 < inspect.pttl(name) <= 60_000
    for meter in meters:
        await meter.aclose()


async def test_backlogs_are_told_and_nothing_is_spent_unless_all_fits(server: Server) -> None:
    meter = RedisCache(server.unix_url, timeout=30.0)
    assert await meter.spend(KEYS, [MINUTE, TEN]) == (True, [0, 0])
    allowed, (first, second) = await meter.spend(KEYS, [MINUTE, TEN])
    assert not allowed
    assert MINUTE // 2 < first <= MINUTE
    assert 0 <= second <= TEN
    assert (await meter.spend(KEYS[1:], [TEN]))[0]
    assert (await meter.spend(KEYS[1:], [HOUR]))[0] is False
    await meter.aclose()


async def test_a_backlog_is_worked_off(server: Server) -> None:
    meter = RedisCache(server.unix_url, timeout=30.0)
    await meter.spend(KEYS[:1], [100_000])
    await asyncio.sleep(0.2)
    assert await meter.spend(KEYS[:1], [TEN]) == (True, [0])
    await meter.aclose()


async def test_it_survives_a_server_that_forgot_the_script_and_fails_with_a_dead_one(server: Server) -> None:
    meter = RedisCache(server.unix_url, timeout=30.0)
    await meter.spend(KEYS[:1], [TEN])
    server.kill()
    with pytest.raises(CacheUnavailable):
        await meter.spend(KEYS[:1], [TEN])
    server.start()
    await asyncio.sleep(0.6)  # the cache leaves a failed server alone for a moment
    assert (await meter.spend(KEYS[:1], [TEN]))[0]
    await meter.aclose()


async def test_counts_are_kept_apart_from_decisions(server: Server, inspect: redis.Redis) -> None:
    meter = open_meter(f"{server.unix_url}?db=0&ttl=5&timeout=5")
    assert meter is not None
    await meter.spend(KEYS, [TEN, TEN])
    assert {name.rpartition(b":")[0] for name in inspect.keys("*")} == {b"agoge:r"}
    await meter.aclose()


@pytest.mark.parametrize("spec", ["memory:", "none:"])
def test_without_a_server_each_process_counts_alone(spec: str) -> None:
    assert open_meter(spec) is None
