"""Answers every delivery once: Slack sends an event again when it is not sure, and any replica may get it.

Knows no event. Without a shared place to claim in, each process knows only what it has seen itself.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

from router.core.facts import CacheFailed, Fact
from router.ports import CacheUnavailable, Claims

SECONDS = 24 * 3600.0  # Slack may deliver late events for a day
KEPT = 20_000


class Once:
    """Says who is first. `shared` decides among replicas; while it is away, this process decides for itself."""

    def __init__(
        self,
        shared: Claims | None,
        record: Callable[[Fact], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = shared
        self._record = record
        self._clock = clock
        self._seen: OrderedDict[str, float] = OrderedDict()

    async def first(self, key: str) -> bool:
        """Say whether nobody has asked for `key` before, here or on another replica."""
        now = self._clock()
        if self._seen.get(key, now) > now:
            return False
        self._seen[key] = now + SECONDS
        self._seen.move_to_end(key)
        while len(self._seen) > KEPT:
            self._seen.popitem(last=False)
        if self._shared is None:
            return True
        try:
            return await self._shared.claim(hashlib.sha256(key.encode()).digest(), SECONDS)
        except CacheUnavailable as error:  # a second answer is better than none
            self._record(CacheFailed("claim", str(error)))
            return True
