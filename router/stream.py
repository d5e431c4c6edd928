"""One answer that has begun: its events, how it ended, and that the engine is freed exactly once.

Knows one backend's iterator, no fleet and no wire format.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from router.core.errors import BackendBroken, BackendFailed, Refused
from router.core.facts import Abandoned, BackendAnswered, BackendAttemptFailed, Fact
from router.core.reply import Event, Finish, Prompt, Usage


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


class Stream:
    """A stream that has begun. A class and not a generator: a generator that nobody started cannot be closed."""

    def __init__(
        self,
        name: str,
        prompt: Prompt,
        source: AsyncIterator[Event],
        first: Event,
        started: float,
        record: Callable[[Fact], None],
        release: Callable[[], None],
    ) -> None:
        """`first` was already taken from `source`; `started` is the dispatch, by the monotonic clock.

        `release` is called once, when the source is closed.
        """
        self._name, self._prompt, self._source = name, prompt, source
        self._record, self._release = record, release
        self._first: Event | None = first
        self._started, self._first_after = started, time.monotonic() - started
        self._tokens: int | None = None
        self._finished = self._closed = False
        self._instead: Refused | None = None

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Event:
        if self._closed:
            raise StopAsyncIteration
        try:
            event, self._first = self._first or await anext(self._source, None), None
            if event is None and not self._finished:
                raise BackendBroken("the engine's stream broke off before its end", backend=self._name)
        except asyncio.CancelledError:
            if self._instead is None:
                raise
            await self.aclose()
            raise self._instead from None
        except Exception as error:
            failure = error if isinstance(error, Refused) else unexpected(self._name, error)
            if isinstance(failure, BackendFailed):
                failure.backend = failure.backend or self._name
            await self._close(failed(self._prompt, self._name, failure, started=True))
            if failure is error:
                raise
            raise failure from error
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

    def interrupt(self, error: Refused) -> None:
        """Let whoever is cancelled while waiting for an event get `error` instead, and so be able to tell it."""
        self._instead = error

    async def aclose(self) -> None:
        """Free the engine. Before the answer's end this means that the client went away."""
        await self._close(Abandoned(self._prompt.request_id, self._name))

    async def _close(self, fact: Fact) -> None:
        if self._closed:
            return
        self._closed = True
        self._record(fact)
        try:
            await close(self._source)
        finally:
            self._release()  # only now may the backend itself be closed


def failed(prompt: Prompt, name: str, error: Refused, *, started: bool) -> BackendAttemptFailed:
    """Return the fact of a failed attempt, or of a stream that broke off (`started`)."""
    return BackendAttemptFailed(prompt.request_id, name, prompt.blend.id, error.code, error.message, started)


def unexpected(name: str, error: Exception) -> BackendBroken:
    """Return a driver's own mistake as a failed backend: the next one may do better."""
    return BackendBroken(f"{name}: the driver failed ({place(error)})", backend=name)


def place(error: BaseException) -> str:
    """Return an exception's type and the line that raised it, but not its text: that may quote the prompt."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return type(error).__name__ + where


async def close(source: AsyncIterator[Event]) -> None:
    """Free the engine: close the backend's iterator if it has anything to close."""
    close = getattr(source, "aclose", None)
    if close is not None:
        with suppress(Exception):  # the answer is decided already; a driver that fails to tidy up changes nothing
            await close()
