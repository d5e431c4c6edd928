"""Log files -> recorded decisions, line by line, and an account of every line that is none. Knows no policy.

A log is read as the server wrote it: other facts, lines of libraries and plain text stand between the decisions.
No line is dropped in silence: it is a decision, or a line that tells of something else, or unreadable with its
number and the reason. Nothing is kept but the line at hand.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic_core import from_json

from router.core.errors import AgogeError
from router.core.recorded import FACT, Recorded, Unreadable, read_fields

STDIN = Path("-")
LONGEST = 1 << 20
"""Bytes of the longest line that is read: a decision has about a thousand."""
SHOWN = 10
"""How many unreadable lines are told in full."""
_MARKS = (f'"{FACT}"'.encode(), b'"out_of_domain"')  # what the line of a decision holds and no other


class _Readable(Protocol):
    def readline(self, size: int, /) -> bytes: ...


class LogUnreadable(AgogeError):
    """A log file as a whole cannot be read on; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that holds, or may hold, a decision and cannot be replayed."""

    file: str
    line: int
    wrong: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.wrong}"


@dataclass(slots=True)
class DecisionLog:
    """Reads logs and counts what their lines were. `faults` holds the first unreadable lines, `others` by kind."""

    lines: int = 0
    decisions: int = 0
    too_old: int = 0
    damaged: int = 0
    others: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)

    @property
    def unreadable(self) -> int:
        """How many lines hold, or may hold, a decision that could not be replayed."""
        return self.too_old + self.damaged

    def read(self, files: Iterable[Path]) -> Iterator[Recorded]:
        """Yield the decisions of `files`, in order. Raises LogUnreadable when a file cannot be read to its end."""
        for file in files:
            name, number = "standard input" if file == STDIN else str(file), 0
            try:
                with _opened(file) as stream:
                    for number, raw in enumerate(_lines(stream), 1):
                        self.lines += 1
                        try:
                            recorded = self._decision(raw)
                        except Unreadable as unreadable:
                            self.too_old += unreadable.too_old
                            self.damaged += not unreadable.too_old
                            if len(self.faults) < SHOWN:
                                self.faults.append(Fault(name, number, str(unreadable)))
                            continue
                        if recorded is not None:
                            self.decisions += 1
                            yield recorded
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise LogUnreadable(
                    f"{name}: the compressed data is broken after line {number} ({error}); "
                    "copy it again, or unpack what can be saved (`gzip -dc`) and replay that"
                ) from error
            except OSError as error:
                raise LogUnreadable(f"{name}: cannot be read ({error.strerror or error})") from error

    def _decision(self, raw: bytes) -> Recorded | None:
        """Return what a line records, None when it tells of something else. Raises Unreadable."""
        fields = _fields(raw)
        if fields is None:
            self.others["plain text"] += 1
            return None
        fact = fields.get("fact")
        if fact != FACT:
            self.others[fact if type(fact) is str else "lines of libraries"] += 1
            return None
        return read_fields(fields)


def _fields(raw: bytes) -> dict[str, Any] | None:
    """Return the object of a line, None for plain text. Raises Unreadable for what may have been a decision."""
    if len(raw) > LONGEST:
        raise Unreadable(f"is longer than {LONGEST} bytes; no decision is")
    if not raw.startswith(b"{"):
        if any(mark in raw for mark in _MARKS):
            raise Unreadable(
                "tells of a decision but does not begin with '{'; print the log without what is written before "
                "each line (`docker compose logs --no-log-prefix`, `kubectl logs --prefix=false`)"
            )
        return None
    try:
        # A third of json.loads' time, which would be half of a replay's.
        fields: dict[str, Any] = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise Unreadable(f"is not JSON ({error}); it was cut off, or damaged, or two lines were mixed") from None
    return fields


def _opened(file: Path) -> AbstractContextManager[_Readable]:
    """Open a log for reading bytes: standard input, a file, or a file that is packed with gzip."""
    if file == STDIN:
        return nullcontext(sys.stdin.buffer)
    if file.suffix == ".gz":
        return gzip.open(file, "rb")
    return file.open("rb")


def _lines(stream: _Readable) -> Iterator[bytes]:
    """Yield lines; of one that is too long its beginning, one byte longer than the longest."""
    while raw := stream.readline(LONGEST + 1):
        yield raw
        while len(raw) > LONGEST and not raw.endswith(b"\n"):
            raw = stream.readline(LONGEST + 1)
            if not raw:
                return
