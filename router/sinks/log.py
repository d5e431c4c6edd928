"""Facts, and what the libraries log -> one JSON line each. No prompt text unless it is switched on.

Facts hold none, with one exception: an engine's own error message may quote the prompt, so it stays out. So does
the text of an exception that nobody expected; its type and the lines it went through are enough to find it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from router.core.facts import BackendAttemptFailed, Began, Decided, Fact, Occupied
from router.core.recorded import fields_of
from router.core.trace import current


class LogSink:
    """Writes a line per fact to `stream` (standard error by default).

    `engine_messages` adds what engines say when they fail, which may quote prompts.
    """

    def __init__(self, stream: TextIO | None = None, *, engine_messages: bool = False) -> None:
        self._stream = stream
        self._engine_messages = engine_messages

    def record(self, fact: Fact) -> None:
        """Write one fact. In a traced request it comes with the trace's id."""
        if isinstance(fact, Began | Occupied):
            return  # of interest only while it lasts; BackendAnswered tells how it went
        line: dict[str, object] = {"time": round(time.time(), 3), "fact": type(fact).__name__}
        if trace_id := current().trace_id:
            line["trace_id"] = trace_id
        if isinstance(fact, Decided):
            line |= fields_of(fact)
        else:
            line |= asdict(fact)
            if isinstance(fact, BackendAttemptFailed) and not self._engine_messages:
                del line["message"]
        with suppress(OSError, ValueError):  # nobody reads the log any more: no reason to refuse a request
            print(json.dumps(line, ensure_ascii=False), file=self._stream or sys.stderr, flush=True)


class JsonLines(logging.Formatter):
    """What libraries log (the HTTP server above all) in the same form."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one record as a line."""
        line: dict[str, object] = {
            "time": round(record.created, 3),
            "log": record.name,
            "level": record.levelname,
            "message": record.getMessage().strip(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            kind, _, trace = record.exc_info
            line["exception"] = kind.__name__
            line["at"] = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(trace)]
        return json.dumps(line, ensure_ascii=False)
