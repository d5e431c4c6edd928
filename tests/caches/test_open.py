"""The one line of text that chooses a cache."""

from __future__ import annotations

import subprocess
import sys

import pytest

from router.caches import open_cache
from router.caches.memory import MemoryCache
from router.caches.redis import RedisCache


def test_memory() -> None:
    assert repr(open_cache("memory:")) == "MemoryCache(max_entries=10000, max_bytes=67108864, ttl=600)"
    assert (
        repr(open_cache("memory:?entries=7&ttl=1.5&bytes=900"))
        == "MemoryCache(max_entries=7, max_bytes=900, ttl=1.5)"
    )


async def test_none_keeps_nothing() -> None:
    cache = open_cache("none:")
    assert isinstance(cache, MemoryCache)
    await cache.put(b"a", b"1")
    assert await cache.get(b"a") is None


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("redis://cache.internal", "RedisCache(redis://cache.internal:6379/0, ttl=600, timeout=0.02)"),
        ("redis://u:hunter2@h:7/3?ttl=60", "RedisCache(redis://h:7/3, ttl=60, timeout=0.02)"),
        ("rediss://h?timeout=0.1&pause=1", "RedisCache(rediss://h:6379/0, ttl=600, timeout=0.1)"),
        ("unix:///run/redis.sock?db=2&ttl=60", "RedisCache(unix:///run/redis.sock, ttl=60, timeout=0.02)"),
    ],
)
def test_redis(spec: str, shown: str) -> None:
    cache = open_cache(spec)
    assert isinstance(cache, RedisCache)
    assert repr(cache) == shown


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("", "expected memory:"),
        ("memory", "expected memory:"),
        ("memory://", "expected memory:"),
        ("none:?ttl=1", "expected memory:"),
        ("localhost:6379", "expected memory:"),
        ("redis:host", "expected memory:"),
        ("valkey://host", "expected memory:"),
        ("memory:?size=3", "it has entries, bytes, ttl"),
        ("memory:?entries=many", "'entries' is not a number; write it like entries=600"),
        ("memory:?ttl=1&ttl=2", "'ttl' is given twice"),
        ("memory:?ttl=0", "it must be positive"),
        ("redis://host?tll=3", "it has ttl, timeout, pause, db"),
        ("redis://:pass?hunter2@host", "it has ttl, timeout, pause, db"),
        ("redis://:hun/ter2@host", "percent-encoded"),
    ],
)
def test_a_wrong_spec_says_what_would_be_right(spec: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        open_cache(spec)
    assert "hun" not in str(caught.value)


def test_the_memory_cache_does_not_pay_for_importing_redis() -> None:
    code = "import sys; from router.caches import open_cache; open_cache('memory:'); print('redis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
