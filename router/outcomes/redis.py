"""Outcomes in a stream of a Redis or Valkey that all replicas share. Knows no decision and no HTTP.

Unlike a cache it must not forget. So an outcome counts as kept only when the server says that its append-only file
has it (WAITAOF), and a server that may push out keys without a time to live is refused.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from router.core.outcome import Outcome
from router.outcomes.record import read_outcome, written
from router.ports import OutcomesUnavailable
from router.redis_address import without_password
from router.redis_pool import connect_anew, redis_at

PAGE = 500  # entries of the stream in one answer
_FIELD = b"outcome"


class RedisOutcomes:
    """Keeps outcomes in the stream `key` of the server at `url`; `seconds` is what one call may take.

    Raises ValueError on a URL that is not a Redis one, without repeating it: it may hold a password.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str = "agoge:outcomes",
        seconds: float = 5.0,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._place = without_password(url)
        self._key = key
        self._seconds = seconds
        self._tell = tell or logging.getLogger(__name__).warning
        # WAITAOF itself waits `seconds`
        self._client = redis_at(url, connections=4, patience=seconds + 1, connect=seconds)

    def __repr__(self) -> str:
        return f"RedisOutcomes({self._place}, {self._key})"

    async def add(self, outcome: Outcome) -> None:
        """Append it and wait until the server's disk has it. Raises OutcomesUnavailable."""
        calls = self._client.pipeline(transaction=False)  # one connection: WAITAOF speaks of its own writes
        calls.info("memory")
        calls.xadd(self._key, {_FIELD: written(outcome)})
        calls.execute_command("WAITAOF", 1, 0, round(self._seconds * 1000))
        try:
            memory, entry, synced = await calls.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError) as error:
            raise self._unavailable(f"{type(error).__name__}: {error}") from error
        wrong = _wrong(memory, entry, synced)
        if wrong is None:
            return
        if isinstance(entry, ReadOnlyError):
            await connect_anew(self._client)
        if isinstance(entry, bytes):  # nothing is left behind that the caller was told is not kept
            with suppress(RedisError, OSError, TimeoutError):
                await self._client.xdel(self._key, entry)
        raise self._unavailable(wrong)

    async def read(self) -> AsyncIterator[Outcome]:
        """Yield all, oldest first. Raises OutcomesUnavailable."""
        since = "-"
        while True:
            try:
                page: Any = await self._client.xrange(self._key, min=since, count=PAGE)
            except (RedisError, OSError, TimeoutError) as error:
                raise self._unavailable(f"{type(error).__name__}: {error}") from error
            if not page:
                return
            for entry, fields in page:
                try:
                    yield read_outcome(fields.get(_FIELD, b""))
                except ValueError as error:
                    self._tell(f"{self._place}: {self._key} {entry.decode()}: skipped: {error}")
            since = f"({page[-1][0].decode()}"

    async def aclose(self) -> None:
        """Close every connection."""
        with suppress(RedisError, OSError):
            await self._client.aclose()

    def _unavailable(self, why: str) -> OutcomesUnavailable:
        return OutcomesUnavailable(f"{self._place}: {why}")


def _wrong(memory: Any, entry: Any, synced: Any) -> str | None:
    """Say why the answers to INFO, XADD and WAITAOF do not mean that the outcome is kept; None: they do."""
    if isinstance(synced, ResponseError):
        if "appendonly" in str(synced):
            return "the server writes nothing to disk; start it with --appendonly yes"
        if "unknown command" in str(synced).lower():
            return "the server has no WAITAOF; Redis 7.2 or newer, or Valkey, can say what is on its disk"
    for answer in (entry, memory, synced):
        if isinstance(answer, Exception):
            return f"{type(answer).__name__}: {answer}"
    if memory.get("maxmemory") and str(memory.get("maxmemory_policy", "")).startswith("allkeys"):
        return (
            f"the server may push outcomes out (maxmemory-policy {memory['maxmemory_policy']}); volatile-lru "
            "pushes out decisions alone"
        )
    if not synced[0]:
        return "the server's disk did not have it in time"
    return None
