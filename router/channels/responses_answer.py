"""An engine's events -> the Responses API's object and its typed events: one machine, whole or streamed.

Source: OpenAI API reference, "Streaming events" of responses, and what openai-python's stream helpers rely on.
Pure: knows no HTTP, and of the clock only when an answer was completed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from router.channels.answers import argument_text
from router.channels.errors import error_object
from router.core.errors import Refused
from router.core.reply import Delta, Event, Finish, Usage

Events = list[dict[str, Any]]
_CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}


def _name(kind: str) -> str:
    return f"{kind}_{token_hex(16)}"


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


@dataclass(slots=True)
class _Text:
    """A message of the answer. `status` moves from in_progress to completed or incomplete."""

    at: int
    id: str = field(default_factory=lambda: _name("msg"))
    pieces: list[str] = field(default_factory=list)
    status: str = "in_progress"

    def item(self, *, bare: bool = False) -> dict[str, Any]:
        content = [] if bare else [_part("".join(self.pieces))]
        return {
            "id": self.id,
            "type": "message",
            "status": self.status,
            "role": "assistant",
            "content": content,
        }


@dataclass(slots=True)
class _Call:
    """A function call of the answer; it has its place `at` once its name is known and it was shown."""

    at: int = -1
    id: str = field(default_factory=lambda: _name("fc"))
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    status: str = "in_progress"

    def item(self, *, bare: bool = False) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "function_call",
            "status": self.status,
            "call_id": self.call_id,
            "name": self.name,
            "arguments": "" if bare else self.arguments,
        }


class Answer:
    """Grows with what the engine says: `begin`, `take` for every event, then `end` or `fail`, each once."""

    def __init__(self, head: Mapping[str, Any]) -> None:
        """`head`: the fields of the response that do not change."""
        self._head = head
        self._number = 0
        self._items: list[_Text | _Call] = []
        self._writing: _Text | None = None
        self._calls: dict[int, _Call] = {}
        self._finish = "stop"
        self._usage: Usage | None = None

    def begin(self) -> Events:
        """Return the events before the first word."""
        return [self._whole(f"response.{kind}", "in_progress") for kind in ("created", "in_progress")]

    def take(self, event: Event) -> Events:
        """Return the events that this one becomes."""
        match event:
            case Delta(content=content, tool_calls=pieces):
                events = self._write(content) if content else []
                for piece in pieces or ():
                    events += self._close_text("completed") + self._call(piece)
                return events
            case Finish(reason=reason):
                self._finish = reason
            case Usage():
                self._usage = event
        return []

    def end(self) -> Events:
        """Return the last events; the very last one holds the whole response."""
        events: Events = []
        if not self._items and not self._calls:  # nothing was said: an empty message, as chat has empty content
            events += self._open_text()
        status = "incomplete" if self._finish in _CUT else "completed"
        events += self._close_text(status)
        for index, call in enumerate(self._calls.values(), 1):
            events += self._close_call(call, status if index == len(self._calls) else "completed")
        return [*events, self._whole(f"response.{status}", status)]

    def fail(self, error: Refused) -> Events:
        """Return the events of an engine that failed on the way.

        `response.failed` is for who reads the types; the `error` event has a top-level `error` too, on which
        openai-python raises: whoever reads nothing but text must not take half an answer for a whole one.
        """
        for item in self._items:
            if item.status == "in_progress":
                item.status = "incomplete"
        failed = self._whole("response.failed", "failed", {"code": error.code, "message": error.message})
        raised = self._event(
            "error", code=error.code, message=error.message, param=error.param, **error_object(error)
        )
        return [failed, raised]

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **fields}

    def _whole(self, kind: str, status: str, error: dict[str, Any] | None = None) -> dict[str, Any]:
        reason = _CUT.get(self._finish) if status == "incomplete" else None
        response = {
            **self._head,
            "status": status,
            "completed_at": int(time.time()) if status == "completed" else None,
            "error": error,
            "incomplete_details": None if reason is None else {"reason": reason},
            "output": [item.item() for item in self._items],
            "usage": None if status in ("in_progress", "failed") else _counted(self._usage),
        }
        return self._event(kind, response=response)

    def _open_text(self) -> Events:
        self._writing = text = _Text(len(self._items))
        self._items.append(text)
        return [
            self._event("response.output_item.added", output_index=text.at, item=text.item(bare=True)),
            self._event("response.content_part.added", **self._place(text), part=_part("")),
        ]

    def _place(self, text: _Text) -> dict[str, Any]:
        return {"item_id": text.id, "output_index": text.at, "content_index": 0}

    def _write(self, content: str) -> Events:
        events = [] if self._writing else self._open_text()
        assert self._writing is not None  # noqa: S101 - the line above opened it
        self._writing.pieces.append(content)
        delta = self._event("response.output_text.delta", **self._place(self._writing), delta=content, logprobs=[])
        return [*events, delta]

    def _close_text(self, status: str) -> Events:
        text, self._writing = self._writing, None
        if text is None:
            return []
        text.status, said = status, "".join(text.pieces)
        return [
            self._event("response.output_text.done", **self._place(text), text=said, logprobs=[]),
            self._event("response.content_part.done", **self._place(text), part=_part(said)),
            self._event("response.output_item.done", output_index=text.at, item=text.item()),
        ]

    def _call(self, piece: Mapping[str, Any]) -> Events:
        """Take one piece of a call. Calls stay open to the end: an engine may mix the pieces of several."""
        index, function = piece.get("index", 0), piece.get("function") or {}
        call = self._calls.get(index)
        if call is None:
            call = self._calls[index] = _Call()
        call.call_id = call.call_id or piece.get("id") or ""
        call.name = call.name or function.get("name") or ""
        more = argument_text(function) or ""
        call.arguments += more
        if call.at < 0:
            return self._show(call) if call.name else []
        return self._argue(call, more)

    def _show(self, call: _Call) -> Events:
        call.at, call.call_id = len(self._items), call.call_id or _name("call")
        self._items.append(call)
        added = self._event("response.output_item.added", output_index=call.at, item=call.item(bare=True))
        return [added, *self._argue(call, call.arguments)]

    def _argue(self, call: _Call, more: str) -> Events:
        kind = "response.function_call_arguments.delta"
        return [self._event(kind, item_id=call.id, output_index=call.at, delta=more)] if more else []

    def _close_call(self, call: _Call, status: str) -> Events:
        events = [] if call.at >= 0 else self._show(call)
        call.status = status
        done = self._event(
            "response.function_call_arguments.done",
            item_id=call.id,
            output_index=call.at,
            name=call.name,
            arguments=call.arguments,
        )
        return [
            *events,
            done,
            self._event("response.output_item.done", output_index=call.at, item=call.item()),
        ]


def _counted(usage: Usage | None) -> dict[str, Any]:
    read, said = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + said,
    }
