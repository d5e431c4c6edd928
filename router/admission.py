"""A place at an engine for every answer: taken before it is asked, kept until its stream closes.

Whoever finds no place waits in a short queue per backend: first come, first served within a tenant, and tenants in
turn (Nagle, RFC 970, 1985). When the queue is full, the newest of the longest line makes room for a tenant with a
shorter one (McKenney, "Stochastic Fairness Queueing", 1990): one tenant's flood cannot shut the others out. Knows
backends by name alone, and neither engines nor prompts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from router.core.errors import Overloaded
from router.core.facts import Fact, Occupied
from router.core.limits import Caller, Capacity, Limits
from router.core.policy import Policies

SHORTEST, LONGEST = 1.0, 60.0  # seconds of Retry-After; openai-python disregards more than 60
_SHARE = 0.1  # that the newest answer has in the mean duration


class Admission:
    """All places of all backends. Outlives a reload: `apply` brings new limits, and what is taken stays taken."""

    def __init__(self, record: Callable[[Fact], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._record = record
        self._clock = clock
        self._backends: dict[str, _Backend] = {}
        self._busy: dict[Caller, int] = {}
        self._policies: Policies | None = None

    def apply(self, policies: Policies, engines: Mapping[str, int]) -> None:
        """Take the limits of `policies`, for backends that consist of so many engines each."""
        self._policies = policies
        for name, count in engines.items():
            usual = Capacity.of(Capacity().at_once * max(1, count))
            self._backend(name).capacity = policies.capacity.get(name, usual)
        for backend in tuple(self._backends.values()):
            self._fill(backend)

    async def enter(self, names: Sequence[str], caller: Caller = ("default", None)) -> Place:
        """Return a place at the first of `names` that has one, or at whichever has one first.

        Raises Overloaded when nobody has one within the time to wait, or too many wait already. Cancelled while
        it waits, it leaves every queue.
        """
        backends = [self._backend(name) for name in names]
        if self._allowed(caller):
            for backend in backends:
                if backend.free:
                    return self._take(backend, caller)
        joined = [backend for backend in backends if self._has_room(backend, caller[0])]
        if not joined:
            raise self._refusal(backends, caller, "too many wait already")
        waiter = _Waiter(caller, asyncio.get_running_loop().create_future(), joined)
        for backend in joined:
            self._join(backend, waiter)
        try:
            patience = max(backend.capacity.wait for backend in joined)
            await asyncio.wait({waiter.place}, timeout=patience)
            if waiter.place.done():
                return waiter.place.result()
            raise self._refusal(backends, caller, f"no place came free within {patience:g} s")
        except asyncio.CancelledError:
            if waiter.place.done() and waiter.place.exception() is None:  # it came free in the moment of leaving
                waiter.place.result().leave()
            raise
        finally:
            self._forget(waiter)

    def refuse_early(self, names: Iterable[str], caller: Caller) -> None:
        """Raise Overloaded when `enter` would, whichever of `names` it were given: before anything is computed."""
        backends = [self._backend(name) for name in names]
        if self._allowed(caller) and any(backend.free for backend in backends):
            return
        if not any(self._has_room(backend, caller[0]) for backend in backends):
            raise self._refusal(backends, caller, "too many wait already")

    def _backend(self, name: str) -> _Backend:
        found = self._backends.get(name)
        if found is None:
            found = self._backends[name] = _Backend(name)
        return found

    def _counted(self, caller: Caller) -> tuple[tuple[Caller, Limits], ...]:
        return () if self._policies is None else self._policies.counted(*caller)

    def _allowed(self, caller: Caller) -> bool:
        return all(
            limits.at_once is None or self._busy.get(who, 0) < limits.at_once
            for who, limits in self._counted(caller)
        )

    def _take(self, backend: _Backend, caller: Caller) -> Place:
        callers = tuple(who for who, _ in self._counted(caller))
        for who in callers:
            self._busy[who] = self._busy.get(who, 0) + 1
        backend.taken += 1
        self._tell(backend)
        began = self._clock()

        def leave() -> None:
            for who in callers:
                self._busy[who] -= 1
                if not self._busy[who]:
                    del self._busy[who]
            backend.taken -= 1
            backend.served(self._clock() - began)
            self._tell(backend)
            self._fill(backend)
            if callers:  # one of theirs may have waited elsewhere, for the tenant's sake
                for other in tuple(self._backends.values()):
                    self._fill(other)

        return Place(backend.name, leave)

    def _fill(self, backend: _Backend) -> None:
        """Give free places to those who wait."""
        while backend.free and (waiter := backend.next(self._allowed)) is not None:
            self._forget(waiter)
            waiter.place.set_result(self._take(backend, waiter.caller))

    def _has_room(self, backend: _Backend, tenant: str) -> bool:
        """Say whether one more may wait: there is room, or a line that is longer than this tenant's will be."""
        if backend.waiting < backend.capacity.queue:
            return True
        return backend.capacity.queue > 0 and len(backend.longest()) > len(backend.lines.get(tenant, ())) + 1

    def _join(self, backend: _Backend, waiter: _Waiter) -> None:
        if backend.waiting >= backend.capacity.queue:
            self._displace(backend, next(reversed(backend.longest())))
        backend.lines.setdefault(waiter.caller[0], {})[waiter] = None
        self._tell(backend)

    def _displace(self, backend: _Backend, waiter: _Waiter) -> None:
        backend.remove(waiter)
        waiter.queues.remove(backend)
        if not waiter.queues:  # it waits for nobody else either
            waiter.place.set_exception(self._refusal([backend], waiter.caller, "others wait whose turn is sooner"))

    def _forget(self, waiter: _Waiter) -> None:
        for backend in waiter.queues:
            backend.remove(waiter)
            self._tell(backend)
        waiter.queues.clear()

    def _refusal(self, backends: Iterable[_Backend], caller: Caller, why: str) -> Overloaded:
        """Return the refusal, with the time until those who wait now will have got in, at the pace of late."""
        after = min(backend.until_drained for backend in backends)
        whose = "every engine is busy" if self._allowed(caller) else "this caller has all its answers at once"
        return Overloaded(f"{whose}, and {why}", retry_after=min(LONGEST, max(SHORTEST, after)))

    def _tell(self, backend: _Backend) -> None:
        self._record(Occupied(backend.name, backend.taken, backend.waiting))


class Place:
    """A place at a backend."""

    __slots__ = ("_leave", "backend")

    def __init__(self, backend: str, leave: Callable[[], None]) -> None:
        self.backend = backend
        self._leave: Callable[[], None] | None = leave

    def leave(self) -> None:
        """Give it back; a second time nothing happens."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


@dataclass(eq=False, slots=True)
class _Waiter:
    caller: Caller
    place: asyncio.Future[Place]
    queues: list[_Backend]


@dataclass(eq=False, slots=True)
class _Backend:
    """One backend's places, and who waits for them: a line per tenant, the tenant whose turn is next first.

    `hold`: how long an answer takes on the mean, in seconds; None before the first has ended.
    """

    name: str
    capacity: Capacity = field(default_factory=Capacity)
    taken: int = 0
    hold: float | None = None
    lines: dict[str, dict[_Waiter, None]] = field(default_factory=dict)

    @property
    def free(self) -> bool:
        return self.taken < self.capacity.at_once

    @property
    def waiting(self) -> int:
        return sum(map(len, self.lines.values()))

    @property
    def until_drained(self) -> float:
        """Seconds until those who wait now have got a place, at the pace of late."""
        if self.hold is None:
            return self.capacity.wait
        return (self.waiting + 1) * self.hold / self.capacity.at_once

    def served(self, seconds: float) -> None:
        self.hold = seconds if self.hold is None else self.hold + _SHARE * (seconds - self.hold)

    def longest(self) -> dict[_Waiter, None]:
        return max(self.lines.values(), key=len, default={})

    def next(self, may: Callable[[Caller], bool]) -> _Waiter | None:
        """Return the first of the next tenant whose first may go, and put that tenant behind the others."""
        for tenant, line in self.lines.items():
            first = next(iter(line))
            if may(first.caller):
                self.lines[tenant] = self.lines.pop(tenant)
                return first
        return None

    def remove(self, waiter: _Waiter) -> None:
        line = self.lines[waiter.caller[0]]
        del line[waiter]
        if not line:
            del self.lines[waiter.caller[0]]
