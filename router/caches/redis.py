"""The decision cache shared by replicas: Redis or Valkey, through redis-py. Knows nothing of what the bytes mean.

A cache must never be the reason why a request is slow or fails. So a caller waits `timeout` and no longer,
every failure is CacheUnavailable, and after a failure, or `SLOW` answers in a row that came too late, the cache is
left alone for `pause` seconds: a dead server costs one short wait now and then, not one per request. After the
pause a single call tries again. One late answer is no reason: to give the cache up costs an embedding per request,
just when there is no time for it.

Each operation runs in a task of its own that a caller's timeout does not cancel. A slow connect (TLS, a far
server) then still ends in a usable connection, and a late reply never stays behind in a connection to be
taken for the answer to somebody else's question.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from redis.exceptions import AuthenticationError, NoPermissionError, NoScriptError, ReadOnlyError, ResponseError

from router.core.quota import MINUTE
from router.ports import CacheUnavailable
from router.redis_address import without_password
from router.redis_pool import Lines

T = TypeVar("T")
SLOW = 3  # answers in a row that came too late, after which the cache is left alone


_SPEND = f"""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local fits, answer = 1, {{}}
for i, key in ipairs(KEYS) do
  local backlog = math.max(0, tonumber(redis.call('GET', key) or now) - now)
  if backlog + ARGV[i] > {MINUTE} then fits = 0 end
  answer[i + 1] = backlog
end
answer[1] = fits
if fits == 1 then
  for i, key in ipairs(KEYS) do
    local backlog = answer[i + 1] + ARGV[i]
    redis.call('SET', key, string.format('%.0f', now + backlog), 'PX', math.ceil(backlog / 1000))
  end
end
return answer
"""
"""KEYS hold when a backlog is worked off (core/quota.py), by the server's clock: the replicas' may differ."""
_SPEND_SHA = hashlib.sha1(_SPEND.encode(), usedforsecurity=False).hexdigest()  # Redis' own name for the script


class RedisCache:
    """A cache on one Redis server.

    `url`: redis://[user:password@]host[:port][/db], rediss:// (TLS) or unix:///path?db=0. `ttl`: seconds an
    entry lives, at least 0.001. `timeout`: seconds a caller waits for one get or put, connecting included.
    `pause`: seconds without any attempt after a failure. `max_value_bytes` bounds what is stored and what is
    accepted back. `connections`: how many at most; a call that finds all of them busy waits within its timeout.

    Raises ValueError on a URL that is not one of these, without repeating it: it may hold a password.
    """

    def __init__(
        self,
        url: str,
        *,
        ttl: float = 600.0,
        timeout: float = 0.02,
        prefix: bytes = b"agoge:d:",
        pause: float = 0.5,
        max_value_bytes: int = 64 * 1024,
        connections: int = 16,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0.001 <= ttl < math.inf:
            raise ValueError(f"ttl is {ttl} seconds; it must be at least 0.001 and finite")
        if not 0 < timeout < math.inf:
            raise ValueError(f"timeout is {timeout} seconds; it must be positive and finite")
        if pause < 0 or max_value_bytes < 1 or connections < 1:
            raise ValueError("pause must be 0 or more; max_value_bytes and connections at least 1")
        self._place = without_password(url)
        self.ttl = ttl
        self.timeout = timeout
        self._ttl_ms = round(ttl * 1000)
        self._prefix = prefix
        self._pause = pause
        self._max_value_bytes = max_value_bytes
        self._clock = clock
        self._tries_again_at: float | None = None  # None: the last answer was good
        self._last_failure = ""
        self._slow = 0
        self._connects_anew_at = -math.inf
        self._closed = False
        self._room = asyncio.Semaphore(connections)
        self._running: set[asyncio.Task[Any]] = set()
        # What an operation may take after its caller has left: enough for a slow handshake, then it is over.
        patience = max(1.0, 2 * timeout)
        self._lines = Lines(url, connections=connections, patience=patience)

    def __repr__(self) -> str:
        return f"RedisCache({self._place}, ttl={self.ttl:g}, timeout={self.timeout:g})"

    async def get(self, key: bytes) -> bytes | None:
        """Return `get_many` for one key."""
        return (await self.get_many((key,)))[0]

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value or None for each key: one MGET for all. Raises CacheUnavailable."""
        if not keys:
            return []

        async def fetch() -> list[bytes | None]:
            return (await self._lines.ask(("MGET", *map(self._name, keys))))[0]  # type: ignore[no-any-return]

        found = await self._within_time(fetch)
        largest = max((len(value) for value in found if value is not None), default=0)
        if largest > self._max_value_bytes:
            raise CacheUnavailable(
                f"{self._place}: a value of {largest} bytes is over the {self._max_value_bytes} allowed"
            )
        return found

    async def put(self, key: bytes, value: bytes) -> None:
        """Store the value: one SET with its time to live. Raises CacheUnavailable."""
        if len(value) > self._max_value_bytes:
            raise CacheUnavailable(
                f"{self._place}: a value of {len(value)} bytes is over the {self._max_value_bytes} allowed"
            )

        async def store() -> None:
            await self._lines.ask(("SET", self._name(key), value, "PX", self._ttl_ms))

        await self._within_time(store)

    async def put_many(self, items: Mapping[bytes, bytes], seconds: float) -> None:
        """Store every value for `seconds`, at least 0.001: one pipeline. Raises CacheUnavailable.

        A value that is too large is left out.
        """
        milliseconds = max(1, round(seconds * 1000))

        fitting = [
            ("SET", self._name(key), value, "PX", milliseconds)
            for key, value in items.items()
            if len(value) <= self._max_value_bytes
        ]

        async def store() -> None:
            await self._lines.ask(*fitting)

        await self._within_time(store)

    async def claim(self, key: bytes, seconds: float) -> bool:
        """Take `key` for `seconds`, at least 0.001: True for the first who asks. Raises CacheUnavailable.

        One SET NX with an expiry, so nobody can take it twice and nobody has to give it back.
        """

        async def take() -> bool:
            command = ("SET", self._name(key), b"1", "PX", max(1, round(seconds * 1000)), "NX")
            return (await self._lines.ask(command)) == [b"OK"]

        return await self._within_time(take)

    async def spend(self, keys: Sequence[bytes], costs: Sequence[int]) -> tuple[bool, list[int]]:
        """Add each cost (microseconds) to its key's backlog, if all fit into a minute: one script, by one clock.

        Return whether they did, and the backlogs before. Raises CacheUnavailable.
        """

        async def count() -> list[int]:
            told: tuple[bytes | int, ...] = (len(keys), *map(self._name, keys), *costs)
            try:
                (answer,) = await self._lines.ask(("EVALSHA", _SPEND_SHA, *told))
            except NoScriptError:  # a new server, or one that forgot its scripts
                (answer,) = await self._lines.ask(("EVAL", _SPEND, *told))
            return answer  # type: ignore[no-any-return]

        allowed, *backlogs = await self._within_time(count)
        return bool(allowed), backlogs

    async def aclose(self) -> None:
        """Close every connection; operations still under way are given up. Later calls raise CacheUnavailable."""
        self._closed = True
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._lines.aclose()

    def _name(self, key: bytes) -> bytes:
        return self._prefix + key.hex().encode()

    async def _within_time(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run the operation, waiting at most `timeout`; keep the account of failures."""
        if self._closed:
            raise CacheUnavailable(f"{self._place}: closed")
        if self._tries_again_at is not None:
            now = self._clock()
            if now < self._tries_again_at:
                raise CacheUnavailable(f"{self._place}: left alone after a failure ({self._last_failure})")
            self._tries_again_at = now + self._pause  # this call tries; the others go on without the cache
        loop = asyncio.get_running_loop()
        deadline, waiting = loop.time() + self.timeout, True

        async def run() -> T:
            async with self._room:
                if not waiting:  # nobody wants this any more
                    raise CacheUnavailable("all connections were busy")
                try:
                    return await operation()
                except ReadOnlyError:
                    if self._clock() >= self._connects_anew_at:
                        self._connects_anew_at = self._clock() + self._pause
                        await self._lines.connect_anew()
                    raise

        task = asyncio.create_task(run())
        self._running.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.wait({task}, timeout=self.timeout)
            if not task.done() and loop.time() > deadline + self.timeout / 4:
                # It is this process that was busy, not the server: the reply may lie there unread.
                await asyncio.wait({task}, timeout=self.timeout)
            for _ in range(3):  # a busy event loop may see its timer and the reply at once: then the reply counts
                if task.done():
                    break
                await asyncio.sleep(0)
            else:
                raise self._late()
        finally:
            waiting = False
        if task.cancelled():
            raise CacheUnavailable(f"{self._place}: closed")
        error = task.exception()
        if error is None:
            self._tries_again_at, self._slow = None, 0
            return task.result()
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, ResponseError) and not isinstance(error, AuthenticationError | NoPermissionError):
            self._tries_again_at = None  # the server is there and quick, it only dislikes this one key or moment
            raise CacheUnavailable(f"{self._place}: {text}") from None
        raise self._failed(text)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: a failure after the caller left has nobody to be told

    def _late(self) -> CacheUnavailable:
        why = f"no answer within {self.timeout:g} s"
        self._slow += 1
        if self._slow < SLOW and self._tries_again_at is None:
            return CacheUnavailable(f"{self._place}: {why}")
        return self._failed(why)

    def _failed(self, why: str) -> CacheUnavailable:
        self._tries_again_at = self._clock() + self._pause
        self._last_failure = why
        return CacheUnavailable(f"{self._place}: {why}")
