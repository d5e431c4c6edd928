"""MemoryCache against a model that is too slow to be wrong."""

from __future__ import annotations

import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.caches.memory import MemoryCache
from router.ports import CacheUnavailable


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_hit_miss_and_overwrite() -> None:
    cache = MemoryCache()
    assert await cache.get(b"a") is None
    await cache.put(b"a", b"1")
    await cache.put(b"a", b"2")
    assert await cache.get(b"a") == b"2"
    assert len(cache) == 1
    await cache.aclose()
    assert await cache.get(b"a") is None
    assert cache.size == 0


async def test_many_keys_come_back_in_their_order() -> None:
    cache = MemoryCache()
    await cache.put(b"a", b"1")
    await cache.put(b"c", b"3")
    assert await cache.get_many([b"c", b"b", b"a"]) == [b"3", None, b"1"]


async def test_an_entry_lives_exactly_its_time_and_reading_does_not_renew_it() -> None:
    clock = Clock()
    cache = MemoryCache(ttl=10, clock=clock)
    await cache.put(b"a", b"1")
    clock.now += 9.9
    assert await cache.get(b"a") == b"1"
    clock.now += 0.1
    assert await cache.get(b"a") is None
    assert (len(cache), cache.size) == (0, 0), "what expired is not kept"


async def test_the_least_recently_used_goes_first() -> None:
    cache = MemoryCache(max_entries=2)
    await cache.put(b"a", b"1")
    await cache.put(b"b", b"2")
    await cache.get(b"a")
    await cache.put(b"c", b"3")
    assert [await cache.get(key) for key in (b"a", b"b", b"c")] == [b"1", None, b"3"]


async def test_no_entries_means_nothing_is_kept() -> None:
    cache = MemoryCache(max_entries=0)
    await cache.put(b"a", b"1")
    assert await cache.get(b"a") is None


async def test_a_value_larger_than_the_cache_is_refused_and_pushes_nothing_out() -> None:
    cache = MemoryCache(max_bytes=1000)
    await cache.put(b"a", b"1")
    with pytest.raises(CacheUnavailable, match="2000 bytes does not fit into a cache of 1000 bytes"):
        await cache.put(b"b", b"x" * 2000)
    assert await cache.get(b"a") == b"1"


@pytest.mark.parametrize(
    "wrong", [{"max_entries": -1}, {"max_bytes": 0}, {"ttl": 0}, {"ttl": float("inf")}, {"ttl": float("nan")}]
)
def test_bounds_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        MemoryCache(**wrong)  # type: ignore[arg-type] # the table mixes int and float


async def test_the_byte_bound_holds_for_the_memory_that_python_really_takes() -> None:
    bound = 2_000_000
    cache = MemoryCache(max_entries=10**9, max_bytes=bound)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(10_000):
        await cache.put(number.to_bytes(32, "big"), bytes(500))
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.7 * bound < taken < 1.1 * bound, f"{taken} bytes on {sys.version}"


_PUT = st.tuples(st.just("put"), st.sampled_from([b"a", b"b", b"c", b"dd"]), st.binary(max_size=300))
_GET = st.tuples(st.just("get"), st.sampled_from([b"a", b"b", b"c", b"dd"]), st.just(b""))
_WAIT = st.tuples(st.just("wait"), st.just(b""), st.just(b""))


@given(
    steps=st.lists(st.one_of(_PUT, _GET, _WAIT), max_size=40),
    max_entries=st.integers(1, 4),
    max_bytes=st.integers(240, 1500),
)
async def test_behaves_like_the_model(
    steps: list[tuple[str, bytes, bytes]], max_entries: int, max_bytes: int
) -> None:
    """The model is a list, oldest use first: (key, value, expires)."""
    clock = Clock()
    cache = MemoryCache(max_entries=max_entries, max_bytes=max_bytes, ttl=3, clock=clock)
    model: list[tuple[bytes, bytes, float]] = []

    def weight() -> int:
        return sum(len(key) + len(value) + 240 for key, value, _ in model)

    for action, key, value in steps:
        if action == "wait":
            clock.now += 1
        elif action == "put" and len(key) + len(value) + 240 > max_bytes:
            with pytest.raises(CacheUnavailable):
                await cache.put(key, value)
        elif action == "put":
            await cache.put(key, value)
            model = [entry for entry in model if entry[0] != key] + [(key, value, clock.now + 3)]
            while len(model) > max_entries or weight() > max_bytes:
                model.pop(0)
        else:
            found = next((entry for entry in model if entry[0] == key), None)
            model = [entry for entry in model if entry[0] != key]
            if found is not None and clock.now < found[2]:
                model.append(found)
                assert await cache.get(key) == found[1]
            else:
                assert await cache.get(key) is None
        assert len(cache) == len(model) <= max_entries
        assert cache.size == weight() <= max_bytes
