"""The end of a server: answers that are under way may finish, and what outlives its time is told so.

Knows no server and no clock: whoever stops the server says when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, cast
from weakref import WeakSet

from router.core.errors import Stopping


class Cuttable(Protocol):
    """An answer that can be ended from outside; whoever reads it gets Stopping."""

    def cut(self) -> None: ...


class Closing:
    """Who is still being answered. `draining` is true once the server is told to stop."""

    def __init__(self) -> None:
        self.draining = False
        self._cut = False
        self._answers: WeakSet[Cuttable] = WeakSet()
        self._beginning: set[asyncio.Task[object]] = set()

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """Let `cut` end what is awaited here, an answer that has not begun: Stopping is raised instead."""
        if self._is_cut():
            raise Stopping
        task = asyncio.current_task()
        assert task is not None, "called from a coroutine"  # noqa: S101
        asked_before = task.cancelling()
        self._beginning.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if self._is_cut() and task.uncancel() <= asked_before:
                raise Stopping from None
            raise
        finally:
            self._beginning.discard(task)

    def _is_cut(self) -> bool:  # asked anew: it changes while others wait
        return self._cut

    def begun(self, answer: object) -> None:
        """Hear of an answer that has begun; it is forgotten with its last reader."""
        if hasattr(answer, "cut"):  # isinstance with a protocol takes longer than the rest of this together
            self._answers.add(cast(Cuttable, answer))

    def cut(self) -> None:
        """End every answer that is left."""
        self._cut = True
        for task in self._beginning:
            task.cancel()
        for answer in tuple(self._answers):
            answer.cut()
