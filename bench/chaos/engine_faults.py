"""What can go wrong with an engine. What began nowhere moves to the next one; an isolated adapter stays itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from bench.chaos.engine import DRIP, PIECES
from bench.chaos.fault import Bites, Fault, answered_by_primary, logged
from bench.chaos.judge import Allowed, Record
from bench.chaos.policies import APART
from bench.chaos.stage import TOKEN, Stage


@asynccontextmanager
async def failing(stage: Stage, fault: str) -> AsyncIterator[None]:
    """Let the first engine fail in this way."""
    await stage.behave("primary", fault)
    try:
        yield
    finally:
        await stage.behave("primary", "")


@asynccontextmanager
async def refused(stage: Stage) -> AsyncIterator[None]:
    """Kill the first engine's process, the answers under way included."""
    engine = stage.engines["primary"]
    await asyncio.to_thread(engine.kill)
    yield
    engine.start()
    await stage.engine_up("primary")


def _apart(record: Record) -> bool:
    return bool(record["tenant"] == APART and record["kind"] != "feedback")


def _homeless(record: Record) -> bool:
    return bool(record["homeless"])


def _any(record: Record) -> bool:
    return bool(record["tenant"] != APART and record["kind"] != "feedback")


def _dripped(_: object, records: object) -> bool:
    assert isinstance(records, list)
    return any(r["ended"] - r["began"] > 0.9 * PIECES * DRIP for r in records if r["end"] == "whole")


def _passed_over(log: Sequence[Record], records: Sequence[Record]) -> bool:
    """Say whether it hung, and whether others then stopped waiting for it before they asked the next one."""
    quick = [r for r in records if r["ended"] - r["began"] < TOKEN / 2 and r.get("backend") == "spare"]
    return logged("BackendAttemptFailed", code="backend_timeout")(log, records) and any(_any(r) for r in quick)


_FAILED = logged("BackendAttemptFailed")
_MOVES = "The next backend that holds the blend answers. What nobody else holds"


def _fault(
    name: str,
    what: str,
    told: str,
    codes: set[str],
    *,
    all_of_it: bool,
    bites: Bites = _FAILED,
    seconds: float = 0.0,
) -> Fault:
    """`all_of_it`: answers that have begun break off, so that any may fail; else only the homeless ones."""
    return Fault(
        "Engine",
        f"engine-{name}",
        what,
        told,
        refused if name == "refused" else partial(failing, fault=name),
        Allowed(frozenset(codes), _any if all_of_it else _homeless),
        bites,
        answered_by_primary,
        _apart,
        seconds,
    )


_BROKEN_OFF = "An answer that has begun is never finished by somebody else: a stream ends with an error event"
FAULTS = [
    _fault(
        "refused", "it is dead (connection refused)",
        f"{_MOVES} gets 502 `backend_unreachable`, then 503 `blend_unavailable`, when the engine is known to be "
        "down. Answers that had begun end with an error event and `[DONE]`.",
        {"backend_unreachable", "blend_unavailable", "backend_failed"}, all_of_it=True,
    ),
    _fault(
        "hang", "it takes requests and says nothing",
        f"{_MOVES} gets 504 `backend_timeout` after the limit `first_token`. After three in a row others are "
        "asked first: only one request every 5 s, later every 120 s, still waits for it.",
        {"backend_timeout", "backend_unreachable"}, all_of_it=False, bites=_passed_over, seconds=TOKEN + 2,
    ),
    _fault(
        "stall", "it falls silent in the middle of an answer",
        f"{_BROKEN_OFF} `backend_timeout` after the limit `between_tokens`, then `[DONE]`; a whole answer is 504.",
        {"backend_timeout"}, all_of_it=True, seconds=TOKEN + 1,
    ),
    _fault(
        "die", "it dies in the middle of an answer",
        f"{_BROKEN_OFF} `backend_failed`, then `[DONE]`; a whole answer is 502.",
        {"backend_failed"}, all_of_it=True,
    ),
    _fault(
        "429", "it is full (429)", f"{_MOVES} gets 429 `rate_limit_exceeded` with `retry-after`.",
        {"rate_limit_exceeded"}, all_of_it=False,
    ),
    _fault("500", "it fails (500)", f"{_MOVES} gets 502 `backend_failed`.", {"backend_failed"}, all_of_it=False),
    _fault(
        "garbage", "it sends what is no answer",
        "Before the first token as 500; later as dying in the middle.", {"backend_failed"}, all_of_it=True,
    ),
    _fault(
        "half", "it cuts a letter in half (UTF-8)",
        "Pieces are put together again; where the answer ends there, as dying in the middle.",
        {"backend_failed"}, all_of_it=True,
    ),
    _fault(
        "event", "it answers 200 and then an error event",
        "Before the first token as 500; later as dying in the middle.", {"backend_failed"}, all_of_it=True,
    ),
    _fault(
        "drip", "it is slow, but within the limits",
        "Nothing: every answer is whole. A long answer has no limit of its own, only its pauses have.",
        set(), all_of_it=False, bites=_dripped, seconds=PIECES * DRIP + 1,
    ),
]  # fmt: skip
