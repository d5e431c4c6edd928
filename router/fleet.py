"""The backends as one thing: who holds what, who is up, and one stream out of several attempts.

Knows backends only through the port. Never decides who speaks: it is given a blend and keeps to it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from router.core.blend import Blend
from router.core.errors import BackendBroken, BackendFailed, BlendUnavailable
from router.core.facts import Abandoned, BackendAnswered, BackendAttemptFailed, Fact
from router.core.plan import Plan, plan
from router.core.reply import Event, Finish, Inventory, Prompt, Usage
from router.ports import Backend


class Events(Protocol):
    """The events of one answer; `aclose` frees whoever makes them, at any time and any number of times."""

    def __aiter__(self) -> AsyncIterator[Event]: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that has begun: the backend that gives it, whether it stands in, and the events."""

    backend: str
    stand_in: bool
    events: Events


class Fleet:
    """Named backends with the inventories they last reported. A backend that did not answer has none."""

    def __init__(self, backends: Mapping[str, Backend], record: Callable[[Fact], None]) -> None:
        self.backends = dict(backends)
        self.inventories: dict[str, Inventory] = {}
        self.troubles: dict[str, str] = {}
        self.idle = asyncio.Event()
        self.idle.set()
        self._busy = 0
        self.record = record
        self._looking = asyncio.Lock()

    async def look(self, *, only_down: bool = False) -> None:
        """Ask the backends, all at once, what they can serve. Those that fail are down until they answer."""
        async with self._looking:
            names = [name for name in self.backends if not (only_down and name in self.inventories)]
            await asyncio.gather(*(self._look_at(name) for name in names))

    async def _look_at(self, name: str) -> None:
        try:
            self.inventories[name] = await self.backends[name].inventory()
            self.troubles.pop(name, None)
        except BackendFailed as error:
            self.inventories.pop(name, None)
            self.troubles[name] = error.message

    async def plan(self, blend: Blend, backends: Sequence[str]) -> Plan:
        """Plan the attempts for exactly `blend`; look once more at what is down before giving up.

        Raises BlendUnavailable.
        """
        try:
            return plan(blend, backends, self.inventories)
        except BlendUnavailable:
            if all(name in self.inventories for name in backends):
                raise
            await self.look(only_down=True)
            return plan(blend, backends, self.inventories)

    async def dispatch(self, attempts: Plan, prompt: Prompt) -> Reply:
        """Return the first attempt that yields an event: until then nothing was promised to the client.

        Raises the last BackendFailed when every attempt failed, at once when trying elsewhere cannot help.
        """
        failure: BackendFailed | None = None
        for name in attempts.attempts:
            try:
                return await self._attempt(name, prompt)
            except BackendFailed as error:
                failure = error
                failure.backend = failure.backend or name
                self.record(_failed(prompt, name, failure, started=False))
                if not failure.try_next:
                    break
        assert failure is not None, "a plan has at least one attempt"  # noqa: S101 - plan() guarantees it
        raise failure

    async def _attempt(self, name: str, prompt: Prompt) -> Reply:
        started = time.monotonic()
        source = self.backends[name].stream(prompt)
        self.count(+1)
        try:
            first = await anext(source)
        except BaseException as error:
            self.count(-1)
            await _close(source)
            if isinstance(error, asyncio.CancelledError):
                self.record(Abandoned(prompt.request_id, name))
            if isinstance(error, StopAsyncIteration):
                raise BackendBroken("the engine closed the stream without a word", backend=name) from None
            raise
        stand_in = name in self.inventories and self.inventories[name].stand_in
        return Reply(name, stand_in, _Stream(self, name, prompt, source, first, started))

    def count(self, change: int) -> None:
        """Keep `idle` true while no stream is open."""
        self._busy += change
        if self._busy:
            self.idle.clear()
        else:
            self.idle.set()

    async def aclose(self, keep: Mapping[str, Backend] | None = None) -> None:
        """Close every backend that is not also in `keep` (the fleet that takes over)."""
        kept = set(map(id, (keep or {}).values()))
        closing = [backend.aclose() for backend in self.backends.values() if id(backend) not in kept]
        await asyncio.gather(*closing, return_exceptions=True)


class _Stream:
    """A stream that has begun. A class and not a generator: a generator that nobody started cannot be closed."""

    def __init__(
        self, fleet: Fleet, name: str, prompt: Prompt, source: AsyncIterator[Event], first: Event, started: float
    ) -> None:
        self._fleet, self._name, self._prompt, self._source = fleet, name, prompt, source
        self._first: Event | None = first
        self._started, self._first_after = started, time.monotonic() - started
        self._tokens: int | None = None
        self._finished = self._closed = False

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> Event:
        if self._closed:
            raise StopAsyncIteration
        try:
            event, self._first = self._first or await anext(self._source, None), None
            if event is None and not self._finished:
                raise BackendBroken("the engine's stream broke off before its end", backend=self._name)
        except BackendFailed as error:
            error.backend = error.backend or self._name
            await self._close(_failed(self._prompt, self._name, error, started=True))
            raise
        if event is None:
            total = time.monotonic() - self._started
            blend = self._prompt.blend.id
            await self._close(
                BackendAnswered(self._prompt.request_id, self._name, blend, self._first_after, total, self._tokens)
            )
            raise StopAsyncIteration
        if isinstance(event, Finish):
            self._finished = True
        elif isinstance(event, Usage):
            self._tokens = event.completion_tokens
        return event

    async def aclose(self) -> None:
        """Free the engine. Before the answer's end this means that the client went away."""
        await self._close(Abandoned(self._prompt.request_id, self._name))

    async def _close(self, fact: Fact) -> None:
        if not self._closed:
            self._closed = True
            self._fleet.count(-1)
            self._fleet.record(fact)
            await _close(self._source)


def _failed(prompt: Prompt, name: str, error: BackendFailed, *, started: bool) -> BackendAttemptFailed:
    return BackendAttemptFailed(prompt.request_id, name, prompt.blend.id, error.code, error.message, started)


async def _close(source: AsyncIterator[Event]) -> None:
    """Free the engine: close the backend's iterator if it has anything to close."""
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()
