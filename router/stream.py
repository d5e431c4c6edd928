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

from router.core.errors import BackendBroken, BackendFailed, Refused, Stopping
from router.core.facts import Abandoned, BackendAnswered, BackendAttemptFailed, Fact
from router.core.reply import Event, Finish, Prompt, Usage
from router.core.trace import UNTRACED, Span, under


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
        span: Span = UNTRACED,
    ) -> None:
        """`first` was already taken from `source`; `started` is the dispatch, by the monotonic clock.

        `release` is called once, when the source is closed; then `span` ends too.
        """
        self._name, self._prompt, self._source = name, prompt, source
        self._record, self._release = record, release
        self._first: Event | None = first
        self._started, self._first_after = started, time.monotonic() - started
        self._span = span
        self._usage: Usage | None = None
        self._finish: str | None = None
        self._closed = self._cut = False
        self._waiting: asyncio.Task[object] | None = None  # who waits for the next event

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Event:
        if self._closed:
            raise StopAsyncIteration
        try:
            event, self._first = self._first or await self._next(), None
            if event is None and self._finish is None:
                raise BackendBroken("the engine's stream broke off before its end", backend=self._name)
        except Exception as error:
            failure = error if isinstance(error, Refused) else unexpected(self._name, error)
            if isinstance(failure, BackendFailed):
                failure.backend = failure.backend or self._name
            stopping = isinstance(failure, Stopping)  # no fault of the engine's
            await self._close(
                self._abandoned() if stopping else failed(self._prompt, self._name, failure, started=True)
            )
            if failure is error:
                raise
            raise failure from error
        if event is None:
            total = time.monotonic() - self._started
            blend, used = self._prompt.blend.id, self._usage
            await self._close(
                BackendAnswered(
                    self._prompt.request_id,
                    self._name,
                    blend,
                    self._first_after,
                    total,
                    None if used is None else used.completion_tokens,
                    None if used is None else used.prompt_tokens,
                    self._finish,
                )
            )
            raise StopAsyncIteration
        if isinstance(event, Finish):
            self._finish = event.reason
        elif isinstance(event, Usage):
            self._usage = event
        return event

    async def _next(self) -> Event | None:
        self._waiting = asyncio.current_task()
        try:
            if self._cut:
                raise Stopping
            return await anext(self._source, None)
        except asyncio.CancelledError:
            if self._cut and self._waiting is not None and not self._waiting.uncancel():
                raise Stopping from None
            raise
        finally:
            self._waiting = None

    def cut(self) -> None:
        """End it: whoever reads it gets Stopping, at once where it waits for the engine."""
        if not self._cut and self._waiting is not None:
            self._waiting.cancel()
        self._cut = True

    async def aclose(self) -> None:
        """Free the engine. Before the answer's end this means that the client went away."""
        await self._close(self._abandoned())

    def _abandoned(self) -> Abandoned:
        return Abandoned(self._prompt.request_id, self._name)

    async def _close(self, fact: Fact) -> None:
        if self._closed:
            return
        self._closed = True
        with under(self._span):
            self._record(fact)
        self._span.end(fact.code if isinstance(fact, BackendAttemptFailed) else "")
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
