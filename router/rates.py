"""Who has asked how often: requests per minute of tenants and roles, counted for all replicas, or here.

Every request that goes is also counted in this process. So when the shared place fails, counting goes on where it
was: the gates neither open nor shut. And whoever is over the limit here is over it everywhere: a flood is refused
without asking anybody. Knows the shared place through its port, and no API key.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Sequence

from router.core.facts import CacheFailed, Fact
from router.core.limits import Caller
from router.core.policy import Policies
from router.core.quota import Quota, fits, quota, step
from router.ports import CacheUnavailable, Meter

_PURPOSE = b"agoge rate limit, version 1"  # another use of the same secret can never give the same digest


class Rates:
    """Counts requests: one number per tenant and role with a limit, so nothing grows by what strangers send."""

    def __init__(
        self,
        record: Callable[[Fact], None],
        meter: Meter | None = None,
        secret: bytes = b"",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`meter` counts for all replicas, under digests of `secret`; without one this process counts alone."""
        self._record = record
        self._meter = meter
        self._secret = secret
        self._clock = clock
        self._empty_at: dict[Caller, int] = {}  # microseconds: when a backlog is worked off

    async def spend(self, policies: Policies, caller: Caller, requests: int = 1) -> Quota | None:
        """Count `requests`, all or none, and return what is left; None for a caller without a limit.

        One round trip to the shared place, none for who has no limit or none left.
        """
        counted = [(who, limits.per_minute) for who, limits in policies.counted(*caller)]
        limits = [per_minute for _, per_minute in counted if per_minute is not None]
        if not limits:
            return None
        callers = [who for who, per_minute in counted if per_minute is not None]
        costs = [requests * step(limit) for limit in limits]
        allowed, backlogs = self._fits_here(callers, costs)
        if allowed and self._meter is not None:
            try:
                allowed, backlogs = await self._meter.spend([self._name(who) for who in callers], costs)
            except CacheUnavailable as error:
                self._record(CacheFailed("spend", str(error)))
                allowed, backlogs = self._fits_here(callers, costs)  # others may have come meanwhile
        if allowed:
            now = self._now()
            for who, cost in zip(callers, costs, strict=True):
                self._empty_at[who] = max(self._empty_at.get(who, 0), now) + cost
        return quota(limits, backlogs, costs, allowed)

    def _fits_here(self, callers: Sequence[Caller], costs: Sequence[int]) -> tuple[bool, list[int]]:
        now = self._now()
        backlogs = [max(0, self._empty_at.get(who, 0) - now) for who in callers]
        return fits(backlogs, costs), backlogs

    def _now(self) -> int:
        return int(self._clock() * 1e6)

    def _name(self, who: Caller) -> bytes:
        tenant, role = who
        text = tenant.encode() + (b"" if role is None else b"\0" + role.encode())  # neither can hold a NUL
        return hmac.digest(self._secret, _PURPOSE + b"\0" + text, "sha256")
