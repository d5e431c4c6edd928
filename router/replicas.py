"""Several engines that hold the same blends, as one backend: who is healthy, and who takes which blend.

Knows backends through the port only: not where they are, nor how any of them is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field

from router.core.affinity import order, ranked
from router.core.blend import Blend
from router.core.errors import (
    BackendBroken,
    BackendFailed,
    BackendOverloaded,
    BackendUnreachable,
    BlendUnavailable,
)
from router.core.facts import Fact, ReplicaEjected
from router.core.reply import Event, Inventory, Prompt
from router.core.trace import UNTRACED, current, under
from router.ports import Backend, Looked, Record
from router.stream import close, failed, place, unexpected

FAILURES = 3
"""Failures in a row, each before the first event, after which a replica is left alone."""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 120.0
"""Seconds that it is left alone: doubled with every failure of the one request that then tries it again."""


@dataclass
class Replica:
    """One engine: what it last said it holds, how many streams are open there, and how it behaved lately."""

    name: str
    backend: Backend
    inventory: Inventory | None = None
    trouble: str = "not seen yet"
    streams: int = 0
    failures: int = 0
    ejections: int = 0
    until: float = 0.0
    trying: bool = False

    def open_to(self, now: float) -> bool:
        """Say whether it may be sent a request: it is not ejected, or it is time to try it with one."""
        return not self.ejections or (now >= self.until and not self.trying)


@dataclass
class Replicas:
    """`replicas` (name -> backend) as the one backend `name`. `clock` is monotonic, in seconds.

    A replica that does not say what it holds is down. One that fails `FAILURES` times in a row before the first
    event is ejected: after a pause one request tries it, and either heals it or doubles the pause. Those that are
    ejected are asked all the same when all others have failed: there is nothing to lose.
    """

    name: str
    replicas: Mapping[str, Backend]
    clock: Callable[[], float] = time.monotonic
    _all: dict[str, Replica] = field(init=False)
    _expected: dict[str, Blend] = field(init=False, default_factory=dict)
    _record: Record = field(init=False, default_factory=lambda: _unheard)  # a default would become a method

    def __post_init__(self) -> None:
        if not self.replicas:
            raise ValueError(f"backend {self.name}: no replica; give it at least one")
        self._all = {name: Replica(name, backend) for name, backend in self.replicas.items()}

    def look_after(self, blends: Mapping[Blend, object], record: Record) -> None:
        """Hear which blends will be asked for, and where facts go; see `ports.Looked`."""
        self._expected = {blend.id: blend for blend in blends}
        self._record = record
        for replica in self._all.values():
            if isinstance(replica.backend, Looked):
                replica.backend.look_after(blends, record)

    async def inventory(self) -> Inventory:
        """Ask all of them; return what those that answer can serve together.

        Raises BackendUnreachable when none answers, and the only one's own error where there is one.
        """
        asked = await asyncio.gather(*(self._look(replica) for replica in self._all.values()))
        found = [replica.inventory for replica in self._all.values() if replica.inventory is not None]
        if len(found) == 1:
            return found[0]
        if not found:
            errors = [error for error in asked if error is not None]
            if len(errors) == 1:
                raise errors[0]
            said = "; ".join(str(error) for error in errors)
            raise BackendUnreachable(f"{self.name}: no replica answers: {said}", backend=self.name)
        return self._together(found)

    async def _look(self, replica: Replica) -> BackendFailed | None:
        try:
            replica.inventory = await replica.backend.inventory()
        except BackendFailed as error:
            replica.inventory, replica.trouble = None, error.message
            return error
        except Exception as error:  # a driver's own mistake: this one is down, the others are not
            replica.inventory, replica.trouble = None, f"{replica.name}: the driver failed ({place(error)})"
            return unexpected(replica.name, error)
        return None

    def _together(self, found: list[Inventory]) -> Inventory:
        """Return what some replica serves. A blend is withdrawn when somebody withdrew it and nobody serves it.

        Sums of different replicas do not add up: each adds only its own adapters. So only what all of them can add
        counts as free sums; beyond, the blends that are asked for are looked up one by one.
        """
        published = {
            blend: served
            for each in found
            for blend, served in each.published.items()
            if blend not in each.withdrawn
        }
        adding = [each.sums for each in found if each.sums]
        if len(set(adding)) > 1:
            for blend in self._expected.values():
                if any(each.sums.issuperset(blend.weights) and each.serves(blend) for each in found):
                    published.setdefault(blend.id, blend.id)
        return Inventory(
            names=frozenset[str]().union(*(each.names for each in found)),
            sums=frozenset.intersection(*adding) if adding else frozenset[str](),
            stand_in=all(each.stand_in for each in found),
            published=published,
            withdrawn={
                blend: why
                for each in found
                for blend, why in each.withdrawn.items()
                if not self._served(blend, found, published)
            },
        )

    def _served(self, blend_id: str, found: list[Inventory], published: Mapping[str, str]) -> bool:
        blend = self._expected.get(blend_id)
        return blend_id in published if blend is None else any(each.serves(blend) for each in found)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Yield the answer of the first replica that begins one; the next is tried for the same blend only.

        Raises the last replica's error when none did, and at once what another one would say as well.
        """
        failure: BackendFailed | BlendUnavailable | None = None
        for replica in self._order(prompt.blend):
            began, trial = False, bool(replica.ejections)
            replica.streams += 1
            replica.trying = replica.trying or trial
            source = replica.backend.stream(prompt)
            several, wrong = len(self._all) > 1, ""  # a single one is the backend, whose attempt is a span already
            span = current().child("replica", {"replica": replica.name}, calls=True) if several else UNTRACED
            try:
                try:
                    with under(span if several else current()):
                        first = await anext(source)
                except StopAsyncIteration:
                    raise BackendBroken("the engine closed the stream without a word") from None
                except (BackendFailed, BlendUnavailable):
                    raise
                except Exception as error:
                    raise unexpected(replica.name, error) from error
                began = True
                span.event("first event")
                self._healed(replica)
                yield first
                async for event in source:
                    yield event
                return
            except (BackendFailed, BlendUnavailable) as error:
                wrong = error.code
                if began:
                    raise
                failure = error
                if isinstance(error, BackendFailed):
                    error.backend = error.backend or replica.name
                    if not error.try_next:
                        raise
                    if not isinstance(error, BackendOverloaded):  # full is not ill
                        self._failed(replica, error.message)
                if several:
                    self._record(failed(prompt, replica.name, error, started=False))
            finally:
                replica.streams -= 1
                if trial:
                    replica.trying = False
                span.end(wrong)
                await close(source)
        raise failure or self._nobody(prompt.blend)

    def _order(self, blend: Blend) -> list[Replica]:
        holding = {
            name: replica
            for name, replica in self._all.items()
            if replica.inventory is not None and replica.inventory.serves(blend)
        }
        if len(holding) < 2:
            return list(holding.values())
        now = self.clock()
        loads = {name: replica.streams for name, replica in holding.items()}
        well = order(blend.id, {name: load for name, load in loads.items() if holding[name].open_to(now)})
        return [holding[name] for name in (*well, *(each for each in ranked(blend.id, loads) if each not in well))]

    def ailing(self, blend: Blend) -> bool:
        """See the port. What is asked all the same, because nobody else is left, may answer again."""
        now = self.clock()
        holding = [r for r in self._all.values() if r.inventory is not None and r.inventory.serves(blend)]
        return not any(replica.open_to(now) for replica in holding)

    def _failed(self, replica: Replica, why: str) -> None:
        replica.failures += 1
        if replica.ejections or replica.failures >= FAILURES:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**replica.ejections)
            replica.ejections += 1
            replica.until, replica.trouble = self.clock() + pause, why
            if len(self._all) > 1:
                self._record(ReplicaEjected(self.name, replica.name, pause, why))

    def _healed(self, replica: Replica) -> None:
        if replica.ejections and len(self._all) > 1:
            self._record(ReplicaEjected(self.name, replica.name, 0.0, ""))
        replica.failures = replica.ejections = 0

    def _nobody(self, blend: Blend) -> BlendUnavailable:
        said = [f"{r.name}: {r.inventory.withdrawn[blend.id]}" for r in self._all.values()
                if r.inventory is not None and blend.id in r.inventory.withdrawn]  # fmt: skip
        why = "; ".join(said) or "none that answers holds it"
        return BlendUnavailable(f"{self.name}: no replica can serve the blend {blend.id} ({blend}): {why}")

    def states(self) -> dict[str, dict[str, object]]:
        """Return replica -> its state in words, the streams open there, and what it withdrew and why."""
        now = self.clock()
        return {
            name: {
                "state": _state(replica, now),
                "streams": replica.streams,
                "withdrawn": dict(replica.inventory.withdrawn) if replica.inventory is not None else {},
            }
            for name, replica in self._all.items()
        }

    async def aclose(self) -> None:
        """Close all of them."""
        closing = (replica.backend.aclose() for replica in self._all.values())
        await asyncio.gather(*closing, return_exceptions=True)


def _unheard(fact: Fact) -> None:
    """Take a fact that nobody listens for."""


def _state(replica: Replica, now: float) -> str:
    if replica.inventory is None:
        return replica.trouble
    if not replica.ejections:
        return "up"
    rest = replica.until - now
    return f"{f'ejected for {rest:.0f} s' if rest > 0 else 'to be tried again'}: {replica.trouble}"
