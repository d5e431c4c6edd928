"""What a fault is: how it is done and undone, what it may cost, and how to see that it bit. Knows no fault by
name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from bench.chaos.judge import Allowed, Record
from bench.chaos.stage import Stage

Bites = Callable[[Sequence[Record], Sequence[Record]], bool]
"""(what the router logged meanwhile, the requests that ran meanwhile) -> the fault was there and was felt."""


def logged(kind: str, **fields: object) -> Bites:
    """Return: the router logged such a fact, with these fields."""

    def bites(log: Sequence[Record], _: Sequence[Record]) -> bool:
        return any(
            line.get("fact") == kind and all(line.get(name) == value for name, value in fields.items())
            for line in log
        )

    return bites


async def answered_by_primary(stage: Stage) -> bool:
    """Say whether the first engine answers again, the adapter that it alone holds included."""
    status, headers = await stage.say("a note", model="press")
    if status != 200:
        return False
    status, headers = await stage.say("hello", model="core")
    return status == 200 and headers.get("x-agoge-backend") == "primary"


async def remembered(stage: Stage) -> bool:
    """Say whether a decision comes out of the cache again."""
    return (await stage.say("a question that is asked again"))[1].get("x-agoge-cache") == "hit"


@dataclass(frozen=True)
class Fault:
    """`name` is what --only takes. `what` and `told` stand in the table for users: what fails, and what they
    see.

    `inject` does it, and undoes it when its block ends. `recovered` is asked until it says yes. `untouched` are
    the requests whose latency must stay. `seconds`: how long it lasts at least. `leaves`: every so manieth
    stream is left by its client.
    """

    group: str
    name: str
    what: str
    told: str
    inject: Callable[[Stage], AbstractAsyncContextManager[None]]
    allowed: Allowed
    bites: Bites
    recovered: Callable[[Stage], Awaitable[bool]]
    untouched: Callable[[Record], bool]
    seconds: float = 0.0
    leaves: int = 0
