"""The decision cache inside the process: a bounded LRU. Knows nothing of what the bytes mean."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from router.ports import CacheUnavailable

# What one entry costs beyond its key and value (two bytes objects, a tuple, a float, an int, a link of the
# OrderedDict): tracemalloc on CPython 3.11 shows 209 to 236 bytes, depending on how full the table is.
_OVERHEAD = 240


class MemoryCache:
    """A cache that forgets the least recently used entry first. One event loop, no locks.

    `max_entries` may be 0, then nothing is kept. `max_bytes` bounds the memory of all entries together, keys
    and bookkeeping included (estimated). `ttl` is in seconds, counted from the put; reading does not renew it.
    `clock` returns seconds and never goes back. Raises ValueError on bounds that cannot hold anything.
    """

    def __init__(
        self,
        *,
        max_entries: int = 10_000,
        max_bytes: int = 64 * 2**20,
        ttl: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_entries < 0:
            raise ValueError(f"max_entries is {max_entries}; it must be 0 (keep nothing) or more")
        if max_bytes < 1:
            raise ValueError(f"max_bytes is {max_bytes}; it must be at least 1")
        if not 0 < ttl < float("inf"):
            raise ValueError(f"ttl is {ttl} seconds; it must be positive and finite")
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.ttl = ttl
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """Entries held, those that expired unread among them."""
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes held, as counted against `max_bytes`."""
        return self._bytes

    def __repr__(self) -> str:
        return f"MemoryCache(max_entries={self.max_entries}, max_bytes={self.max_bytes}, ttl={self.ttl:g})"

    async def get(self, key: bytes) -> bytes | None:
        """Return the value, or None when it was never put, has expired or was pushed out."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, expires = entry
        if self._clock() >= expires:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return value

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return `get` for each key."""
        return [await self.get(key) for key in keys]

    async def put(self, key: bytes, value: bytes) -> None:
        """Store the value. Raises CacheUnavailable when it alone is larger than `max_bytes`."""
        if self.max_entries == 0:
            return
        cost = _cost(key, value)
        if cost > self.max_bytes:
            raise CacheUnavailable(
                f"a value of {len(value)} bytes does not fit into a cache of {self.max_bytes} bytes"
            )
        if key in self._entries:
            self._drop(key)
        self._entries[key] = (value, self._clock() + self.ttl)
        self._bytes += cost
        while len(self._entries) > self.max_entries or self._bytes > self.max_bytes:
            self._drop(next(iter(self._entries)))

    async def aclose(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._bytes = 0

    def _drop(self, key: bytes) -> None:
        value, _ = self._entries.pop(key)
        self._bytes -= _cost(key, value)


def _cost(key: bytes, value: bytes) -> int:
    return len(key) + len(value) + _OVERHEAD
