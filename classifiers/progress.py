"""How long work tells how far it is. Knows neither the work nor the screen."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as `progress(stage, done, total)`, with `done` from 1 to `total` in steps of its own."""

    def __call__(self, stage: str, done: int, total: int, /) -> None: ...


def silent(stage: str, done: int, total: int, /) -> None:
    """Say nothing."""
