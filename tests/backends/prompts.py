"""Blends and prompts for the backend tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from router.core.blend import Blend
from router.core.conversation import Message
from router.core.reply import Delta, Event, Finish, Prompt, Usage
from router.core.trace import UNTRACED, Span

BASE = "fake/base-model"
SOURCES = {name: f"./adapters/{name}" for name in ("core", "physics", "sport", "academic")}
CORE = Blend.of(BASE, {"core": 1.0}, SOURCES)
PHYSICS = Blend.of(BASE, {"core": 1.0, "physics": 0.8}, SOURCES)
SPORT = Blend.of(BASE, {"core": 1.0, "sport": 0.8}, SOURCES)
ACADEMIC = Blend.of(BASE, {"academic": 1.0}, SOURCES, alone=True)
HELLO = (Message("system", "Be brief."), Message("user", "Why is the sky blue?"))


def prompt(blend: Blend = PHYSICS, request_id: str = "req-1", **parameters: Any) -> Prompt:
    """Return a two-message prompt for `blend`."""
    return Prompt(blend, HELLO, parameters, request_id)


def traced(traceparent: str) -> Span:
    """Return a span under way that tells engines this."""
    kind = type("Traced", (type(UNTRACED),), {"headers": {"traceparent": traceparent}})
    return cast("Span", kind())


async def pour(stream: AsyncIterator[Event], into: list[Event]) -> None:
    """Append the events of a stream to `into`, which keeps those before a failure."""
    async for event in stream:
        into.append(event)


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until `true()`. Raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - the conditions are counters of a fake, nothing sets an event for them
            await asyncio.sleep(0.01)


async def collect(stream: AsyncIterator[Event]) -> tuple[str, list[Event]]:
    """Return the text of a stream and all its events."""
    events = [event async for event in stream]
    return "".join(event.content for event in events if isinstance(event, Delta)), events


def shape(events: list[Event]) -> str:
    """Return the order of the events as letters: D(elta), F(inish), U(sage)."""
    letters = {Delta: "D", Finish: "F", Usage: "U"}
    return "".join(letters[type(event)] for event in events)
