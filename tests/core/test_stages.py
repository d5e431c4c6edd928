"""Stages are timed once and added up; the span under way belongs to one task and those it starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import pytest

from router.core.stages import Stages
from router.core.trace import UNTRACED, Fields, Span, current, under


class Noted:
    """A span that writes down what happens to it, and to its children, into one list."""

    trace_id = "0" * 31 + "1"
    headers: Mapping[str, str] = {}

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name, self.seen = name, seen
        seen.append(f"{name} begins")

    def child(self, name: str, fields: Fields = {}, *, calls: bool = False) -> Span:  # noqa: B006 - never changed
        return Noted(f"{self.name}/{name}", self.seen)

    def event(self, name: str) -> None:
        self.seen.append(f"{self.name}: {name}")

    def end(self, error: str = "") -> None:
        self.seen.append(f"{self.name} ends {error}".strip())


def test_a_stage_that_comes_twice_is_added_up() -> None:
    stages = Stages()
    for _ in range(2):
        with stages("score"):
            time.sleep(0.01)
    assert set(stages.seconds) == {"score"}
    assert stages.seconds["score"] >= 0.02


def test_a_stage_that_fails_is_measured_and_the_failure_goes_on() -> None:
    seen: list[str] = []
    with under(Noted("request", seen)):
        stages = Stages()
        with pytest.raises(ValueError, match="never in a span"), stages("read"):
            raise ValueError("never in a span")
    assert set(stages.seconds) == {"read"}
    assert seen == ["request begins", "request/read begins", "request/read ends ValueError"]


def test_the_attempts_and_not_their_waiting_are_spans() -> None:
    seen: list[str] = []
    with under(Noted("request", seen)):
        stages = Stages()
        with stages("first"):
            current().child("dispatch").end()
    assert seen == ["request begins", "request/dispatch begins", "request/dispatch ends"]
    assert set(stages.seconds) == {"first"}


async def test_each_task_is_in_its_own_span_and_hands_it_to_what_it_starts() -> None:
    async def inner() -> Span:
        await asyncio.sleep(0)
        return current()

    async def request(name: str) -> tuple[Span, Span]:
        span = Noted(name, [])
        with under(span):
            await asyncio.sleep(0)
            return span, await asyncio.create_task(inner())

    for span, found in await asyncio.gather(*(request(str(number)) for number in range(10))):
        assert found is span
    assert current() is UNTRACED


def test_nothing_is_traced_by_default() -> None:
    child = current().child("dispatch", {"backend": "first"}, calls=True)
    child.event("first event")
    child.end("broken")
    assert child is UNTRACED
    assert (child.trace_id, dict(child.headers)) == ("", {})
