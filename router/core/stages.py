"""What a request spends its time on: measured once, for the metrics, the log and the traces alike."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Literal, get_args

from router.core.trace import UNTRACED, Span, current

Stage = Literal["read", "cache", "score", "decide", "plan", "wait", "first", "answer"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""In the order a request goes through them, and disjoint but for `answer`.

read: the conversation, for directives and the subject. cache: the look-up of known decisions. score: typing
mistakes, embedding and scores, with the wait for a thread. decide: scores to blend. plan: who can serve the blend.
wait: for a slot, where their number is limited. first: dispatch to the first event, failed attempts included.
answer: the begun attempt's dispatch to its last event.
"""


class Stages:
    """The stages of one request, in seconds. A stage that comes twice (a look back scores again) is added up."""

    __slots__ = ("_span", "seconds")

    def __init__(self) -> None:
        self.seconds: dict[Stage, float] = {}
        self._span = current()

    def __call__(self, stage: Stage) -> _Timing:
        """Measure what is done in `with stages("read"):`; traced, it is a span of this name too."""
        return _Timing(self, stage)

    def begin(self, stage: Stage) -> Span:
        # The attempts are the spans of `first`: the one that begins to answer outlives it.
        return UNTRACED if stage == "first" else self._span.child(stage)


class _Timing:
    __slots__ = ("_span", "_stage", "_stages", "_started")

    def __init__(self, stages: Stages, stage: Stage) -> None:
        self._stages, self._stage = stages, stage

    def __enter__(self) -> None:
        self._span = self._stages.begin(self._stage)
        self._started = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        took = time.perf_counter() - self._started
        seconds = self._stages.seconds
        seconds[self._stage] = seconds.get(self._stage, 0.0) + took
        self._span.end(kind.__name__ if kind is not None else "")
