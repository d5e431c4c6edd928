"""Requests per minute as arithmetic: the generic cell rate algorithm (ITU-T I.371, 2004). Knows no clock.

A limit of N per minute gives back one request every 60/N seconds. What a caller has spent and not yet got back is
a *backlog* in time: a new request adds its step, and one that would bring the backlog over a minute is refused. So
N may come at once, then N per minute, and one number per caller is all that has to be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MINUTE = 60_000_000  # microseconds, as everything here is


@dataclass(frozen=True, slots=True)
class Quota:
    """What a caller has left: `remaining` of `limit` requests; all of them again after `reset` seconds.

    `retry_after`: None when the request may go; else the seconds until it may, or infinity when it never may.
    """

    limit: int
    remaining: int
    reset: float
    retry_after: float | None = None


def step(per_minute: int) -> int:
    """Return the time that one request costs. Rounded down, so that `per_minute` of them fit into a minute."""
    return MINUTE // per_minute


def fits(backlogs: Sequence[int], costs: Sequence[int]) -> bool:
    """Say whether a request may go: by every limit that it is counted for."""
    return all(backlog + cost <= MINUTE for backlog, cost in zip(backlogs, costs, strict=True))


def quota(limits: Sequence[int], backlogs: Sequence[int], costs: Sequence[int], allowed: bool) -> Quota:
    """Return what is left by the limit that is nearest, from the backlogs *before* this request."""
    told = []
    for limit, before, cost in zip(limits, backlogs, costs, strict=True):
        backlog = before + cost if allowed else before
        told.append(Quota(limit, max(0, MINUTE - backlog) // step(limit), backlog / 1e6))
    nearest = min(told, key=lambda one: one.remaining)
    if allowed:
        return nearest
    over = [max(0, backlog + cost - MINUTE) for backlog, cost in zip(backlogs, costs, strict=True)]
    never = any(cost > MINUTE for cost in costs)
    return Quota(nearest.limit, nearest.remaining, nearest.reset, float("inf") if never else max(over) / 1e6)
