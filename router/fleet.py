"""The backends as one thing: who holds what, who is up, and one stream out of several attempts.

Knows backends only through the port. Never decides who speaks: it is given a blend and keeps to it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from router.admission import Admission, Place
from router.core.blend import Blend
from router.core.errors import BackendBroken, BackendFailed, BlendUnavailable, Refused
from router.core.facts import Abandoned, Fact
from router.core.limits import Caller
from router.core.plan import Plan, plan
from router.core.reply import Event, Inventory, Prompt
from router.core.stages import Stages
from router.core.trace import current, under
from router.ports import Ailing, Backend
from router.stream import Reply, Stream, close, failed, place, unexpected

LOOK_SECONDS = 15.0  # for one inventory: above every driver's own limit, so that no driver can stop the looking


class Fleet:
    """Named backends with the inventories they last reported. A backend that did not answer has none."""

    def __init__(
        self, backends: Mapping[str, Backend], record: Callable[[Fact], None], admission: Admission | None = None
    ) -> None:
        self.backends = dict(backends)
        self.inventories: dict[str, Inventory] = {}
        self.troubles: dict[str, str] = {}
        self.idle = asyncio.Event()
        self.idle.set()
        self._busy = 0
        # Remembered apart from the inventories: one that goes down while it answers still only stands in.
        self._stand_ins: set[str] = set()
        self.record = record
        self.admission = admission or Admission(record)
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._ailing = {name: each.ailing for name, each in self.backends.items() if isinstance(each, Ailing)}

    async def look(self, *, only_down: bool = False) -> None:
        """Ask the backends, all at once, what they can serve. Those that fail are down until they answer.

        Whoever calls while a backend is being asked waits for that one answer: a thousand requests for a
        dead engine ask it once.
        """
        names = [name for name in self.backends if not (only_down and name in self.inventories)]
        for name in names:
            if name not in self._looking:
                task = self._looking[name] = asyncio.create_task(self._look_at(name))
                task.add_done_callback(partial(self._looked, name))
        if names:  # waited for, not awaited: a caller that is cancelled must not cancel the others' answer
            await asyncio.wait([self._looking[name] for name in names])

    def _looked(self, name: str, _: asyncio.Task[None]) -> None:
        self._looking.pop(name, None)

    async def _look_at(self, name: str) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                found = self.inventories[name] = await self.backends[name].inventory()
            self.troubles.pop(name, None)
            if found.stand_in:
                self._stand_ins.add(name)
        except BackendFailed as error:
            self._down(name, error.message)
        except TimeoutError:
            self._down(name, f"{name}: no answer within {LOOK_SECONDS:g} s")
        except Exception as error:  # a driver's own mistake: it is down, and looking goes on
            self._down(name, f"{name}: the driver failed ({place(error)})")

    def _down(self, name: str, why: str) -> None:
        self.inventories.pop(name, None)
        self.troubles[name] = why

    async def plan(self, blend: Blend, backends: Sequence[str]) -> Plan:
        """Plan the attempts for exactly `blend`; look once more at what is down before giving up.

        A backend that failed lately comes after the others: each request would wait for it first. Never after a
        stand-in, though: an expert who may answer is worth waiting for. Raises BlendUnavailable.
        """
        found = await self._plan(blend, backends)
        if len(found.attempts) == 1:
            return found

        def last(name: str) -> tuple[bool, bool]:
            return name in self._stand_ins, name in self._ailing and self._ailing[name](blend)

        return replace(found, attempts=tuple(sorted(found.attempts, key=last)))

    async def _plan(self, blend: Blend, backends: Sequence[str]) -> Plan:
        try:
            return plan(blend, backends, self.inventories)
        except BlendUnavailable:
            if all(name in self.inventories for name in backends):
                raise
            await self.look(only_down=True)
            return plan(blend, backends, self.inventories)

    async def dispatch(
        self, attempts: Plan, prompt: Prompt, caller: Caller = ("default", None), stages: Stages | None = None
    ) -> Reply:
        """Return the first attempt that yields an event: until then nothing was promised to the client.

        Raises the last BackendFailed or BlendUnavailable when every attempt failed, and at once when trying
        elsewhere cannot help; Overloaded when no place comes free at those that are left.
        """
        failure: BackendFailed | BlendUnavailable | None = None
        stages = stages or Stages()
        untried = list(attempts.attempts)
        while untried:  # a backend without a free place is passed over, and asked when nobody else is left
            with stages("wait"):
                at = await self.admission.enter(untried, caller)
            untried.remove(name := at.backend)
            try:
                with stages("first"):
                    return await self._attempt(at, prompt)
            except BlendUnavailable as error:  # it held the blend when it was last looked at; the next may still
                failure = error
                self.record(failed(prompt, name, error, started=False))
            except BackendFailed as error:
                failure = error
                error.backend = error.backend or name
                self.record(failed(prompt, name, error, started=False))
                if not error.try_next:
                    break
        assert failure is not None, "a plan has at least one attempt"  # noqa: S101 - plan() guarantees it
        raise failure

    async def _attempt(self, at: Place, prompt: Prompt) -> Reply:
        name, started = at.backend, time.monotonic()
        source: AsyncIterator[Event] | None = None
        span = current().child("dispatch", {"backend": name, "blend": prompt.blend.id}, calls=True)
        self.hold()
        try:
            with under(span):
                source = self.backends[name].stream(prompt)
                first = await anext(source)
        except BaseException as error:
            try:
                if source is not None:
                    await close(source)
            finally:
                self._leave(at)
                span.end(error.code if isinstance(error, Refused) else type(error).__name__)
            if isinstance(error, asyncio.CancelledError):
                self.record(Abandoned(prompt.request_id, name, started=False))
            if isinstance(error, StopAsyncIteration):
                raise BackendBroken("the engine closed the stream without a word", backend=name) from None
            if isinstance(error, Exception) and not isinstance(error, Refused):
                raise unexpected(name, error) from error
            raise
        span.event("first event")
        leave = partial(self._leave, at)
        events = Stream(name, prompt, source, first, started, self.record, leave, span)
        return Reply(name, name in self._stand_ins, events)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the fleet from being idle, and so from being retired, while a request finds its way to it."""
        self.hold()
        try:
            yield
        finally:
            self.release()

    def _leave(self, at: Place) -> None:
        at.leave()
        self.release()

    def hold(self) -> None:
        """Count one more user of these backends."""
        self._busy += 1
        self.idle.clear()

    def release(self) -> None:
        """Count one user less; without any the fleet is idle and may be retired."""
        self._busy -= 1
        if not self._busy:
            self.idle.set()

    async def aclose(self, keep: Mapping[str, Backend] | None = None) -> None:
        """Close every backend that is not also in `keep` (the fleet that takes over)."""
        for task in tuple(self._looking.values()):
            task.cancel()
        kept = set(map(id, (keep or {}).values()))
        closing = [backend.aclose() for backend in self.backends.values() if id(backend) not in kept]
        await asyncio.gather(*closing, return_exceptions=True)
