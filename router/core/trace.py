"""The span that is under way: which stretch of which traced request the code is in. By default none is.

Knows no tracing library: `sinks.traces` makes spans, and writes facts on them. Like OpenTelemetry's own context it
is a context variable, so tasks that a request starts belong to it, and no request sees another's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

Fields = Mapping[str, "str | int | float | bool"]
_NOTHING: Mapping[str, str] = {}


class Span(Protocol):
    """One stretch of a traced request. Nothing here raises, whatever became of the span."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; "" when nothing is traced."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """What tells the next server whose child its own work is: `traceparent`, as W3C Trace Context has it."""
        ...

    def child(self, name: str, fields: Fields = _NOTHING, *, calls: bool = False) -> Span:
        """Begin a stretch inside of this one. `calls`: another server does its work."""
        ...

    def event(self, name: str) -> None:
        """Note the moment of something."""
        ...

    def end(self, error: str = "") -> None:
        """End it; `error` is what went wrong, by its stable name and never by its text."""
        ...


class _Untraced:
    """Stands where no span is, so that nobody has to ask."""

    __slots__ = ()
    trace_id = ""
    headers = _NOTHING

    def child(self, name: str, fields: Fields = _NOTHING, *, calls: bool = False) -> Span:
        return self

    def event(self, name: str) -> None: ...

    def end(self, error: str = "") -> None: ...


UNTRACED: Span = _Untraced()
_CURRENT: ContextVar[Span] = ContextVar("span", default=UNTRACED)


def current() -> Span:
    """Return the span under way, UNTRACED where none is."""
    return _CURRENT.get()


class under:  # noqa: N801 - used as a function; a generator would take twice as long, several times a request
    """Make `span` the one under way. Not around a `yield` of a generator: its caller would be in it too."""

    __slots__ = ("_before", "_span")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> None:
        self._before = _CURRENT.set(self._span)

    def __exit__(self, *_: object) -> None:
        _CURRENT.reset(self._before)


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Do the block in a span of its own, a child of the one under way."""
    span, wrong = current().child(name), ""
    try:
        with under(span):
            yield
    except BaseException as error:
        wrong = type(error).__name__
        raise
    finally:
        span.end(wrong)
