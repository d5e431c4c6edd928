"""How much may be asked for at once and per minute, as values, and what cannot be. Knows no clock and no queue."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from router.core.errors import Problem

Caller = tuple[str, str | None]
"""Tenant, and role or None for the tenant as a whole."""

AT_ONCE = 128  # streams per engine where the policy says nothing: TGI's own --max-concurrent-requests
WAIT_SECONDS = 10.0
LONGEST_WAIT = 600.0  # seconds: OpenAI's clients wait no longer either
MOST_PER_MINUTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one caller may take: answers at once, and requests per minute. None means as many as there is room."""

    at_once: int | None = None
    per_minute: int | None = None

    def __bool__(self) -> bool:
        return self.at_once is not None or self.per_minute is not None

    def beside(self, whole: Limits) -> Limits:
        """Return those of these limits that differ from `whole`'s."""
        return Limits(
            None if self.at_once == whole.at_once else self.at_once,
            None if self.per_minute == whole.per_minute else self.per_minute,
        )


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a backend takes: `at_once` answers; `queue` requests may wait for a place, `wait` seconds each."""

    at_once: int = AT_ONCE
    queue: int = AT_ONCE // 2
    wait: float = WAIT_SECONDS

    @classmethod
    def of(cls, at_once: int, queue: int | None = None, wait: float = WAIT_SECONDS) -> Capacity:
        """Return a capacity; left out, half as many may wait as are served: who gets in waits no second answer."""
        return cls(at_once, (at_once + 1) // 2 if queue is None else queue, wait)


def check_limits(limits: Limits) -> Iterator[Problem]:
    """Yield what is wrong with a profile's limits."""
    if limits.at_once is not None and limits.at_once < 1:
        yield Problem("limits.at_once", f"is {limits.at_once}", "write 1 or more; leave it out for no limit")
    if limits.per_minute is not None and not 1 <= limits.per_minute <= MOST_PER_MINUTE:
        yield Problem(
            "limits.per_minute",
            f"is {limits.per_minute}",
            f"write a number from 1 to {MOST_PER_MINUTE}; leave it out for no limit",
        )


def check_capacity(capacities: Mapping[str, Capacity]) -> Iterator[tuple[str, str, Problem]]:
    """Yield (backend, key, problem) for everything that is wrong with what the backends are said to take."""
    for name, capacity in capacities.items():
        for key, least in (("at_once", 1), ("queue", 0)):
            if (value := getattr(capacity, key)) < least:
                yield name, key, Problem("", f"is {value}", f"write {least} or more")
        if not (math.isfinite(capacity.wait) and 0 < capacity.wait <= LONGEST_WAIT):
            right = f"write seconds over 0 and up to {LONGEST_WAIT:g}; `queue: 0` lets nobody wait"
            yield name, "wait", Problem("", f"is {capacity.wait}", right)
