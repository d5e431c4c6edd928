"""Bytes of an OpenAI chat-completion event stream -> core events. Knows the wire format, no client and no socket.

Two layers, both pure and fed by hand: `SseLines` finds the data of each server-sent event in bytes that were cut
anywhere; `ChatEvents` reads each as a `chat.completion.chunk`. Sources: the WHATWG event-stream grammar, and TGI
(older ones write `data:` without the space, send `tool_calls` as one object, and end on `eos_token`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from router.backends.failures import stream_failure
from router.core.errors import BackendBroken, BackendUnreachable
from router.core.reply import Delta, Event, Finish, Usage

LONGEST_EVENT = 8 * 1024 * 1024
"""Bytes one event may take. Without a bound an engine gone wrong would fill the router's memory."""

_CHUNK = json.JSONDecoder(parse_constant=lambda _: None)  # NaN is no JSON, and clients are sent what is
_REASONS = {"stop_sequence": "stop", "eos_token": "stop", "function_call": "tool_calls"}


class SseLines:
    """Finds the `data` of server-sent events. Comments (`: keep-alive`) and other fields are ignored."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next bytes, return the data of every event that is now complete.

        Raises ValueError when one event passes LONGEST_EVENT bytes.
        """
        *lines, self._rest = (self._rest + piece).split(b"\n")
        events: list[bytes] = []
        for line in lines:
            self._take(line.removesuffix(b"\r"), events)
        if len(self._rest) + self._size > LONGEST_EVENT:
            raise ValueError(f"one event is longer than {LONGEST_EVENT} bytes")
        return events

    def close(self) -> list[bytes]:
        """Return the last event where the stream ended without its closing blank line."""
        events: list[bytes] = []
        self._take(self._rest.removesuffix(b"\r"), events)
        self._take(b"", events)
        self._rest = b""
        return events

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data, self._size = [], 0
        elif line.startswith(b"data:"):
            value = line[5:].removeprefix(b" ")
            self._data.append(value)
            self._size += len(line)  # the field's name too: an event of empty lines takes room as well


class ChatEvents:
    """Reads one answer. Feed it bytes, take events; `close` says whether the answer was whole.

    Events come as the port promises: deltas, one Finish, then Usage if the engine counted tokens. `done` is set
    by `[DONE]`, `finished` by the finish reason. `backend` is the engine's name for error messages. `speaker`,
    where it is set, is the `model` that the first chunk must name: for engines that tell truly who answers.
    Raises from `feed` and `close`: BackendOverloaded, BackendRefused or BackendBroken for an error event,
    BackendBroken for what cannot be read and for an answer that broke off, BackendUnreachable for an empty stream.
    """

    def __init__(self, backend: str) -> None:
        self.speaker: str | None = None
        self.done = False
        self.finished = False
        self._backend = backend
        self._lines = SseLines()
        self._usage: Usage | None = None
        self._began = False
        self._called_tools = False

    def feed(self, piece: bytes) -> list[Event]:
        """Take the next bytes and return the events that are now complete, in order."""
        try:
            found = self._lines.feed(piece)
        except ValueError as wrong:
            raise BackendBroken(f"{self._backend}: {wrong}", backend=self._backend) from None
        return self._read(found)

    def take(self, chunk: Mapping[str, Any]) -> list[Event]:
        """Take one chunk that a client library has parsed already, and return its events."""
        self._began = True
        if chunk.get("error") is not None:
            raise stream_failure(self._backend, chunk["error"], chunk.get("error_type"))
        if self.speaker is not None:
            if chunk.get("model") != self.speaker:
                raise BackendBroken(
                    f"{self._backend}: {chunk.get('model')!r} answers, not {self.speaker!r} who was asked",
                    backend=self._backend,
                )
            self.speaker = None
        try:
            self._usage = _usage(chunk.get("usage")) or self._usage
            return [event for choice in chunk.get("choices") or () for event in self._choice(choice)]
        except (TypeError, ValueError, OverflowError, AttributeError, KeyError):
            raise BackendBroken(
                f"{self._backend}: an event is not a chat.completion.chunk", backend=self._backend
            ) from None

    def close(self) -> list[Event]:
        """Return what the end of the stream completes. Raises when the answer is not whole."""
        events = self._read(self._lines.close())
        if not self.done:
            self.done = True
            events += self._count()
        if self.finished:
            return events
        if not self._began:
            raise BackendUnreachable(
                f"{self._backend}: the connection closed before the first event", backend=self._backend
            )
        raise BackendBroken(f"{self._backend}: the answer broke off before its end", backend=self._backend)

    def _read(self, found: Sequence[bytes]) -> list[Event]:
        events: list[Event] = []
        for data in found:
            if self.done:
                break
            if data.strip() == b"[DONE]":
                self.done = self._began = True
                events += self._count()
            else:
                events += self.take(self._parse(data))
        return events

    def _parse(self, data: bytes) -> Mapping[str, Any]:
        try:
            chunk = _CHUNK.decode(data.decode())
        except (ValueError, RecursionError):
            chunk = None
        if not isinstance(chunk, dict):
            raise BackendBroken(
                f"{self._backend}: an event of {len(data)} bytes is not a JSON object", backend=self._backend
            )
        return chunk

    def _choice(self, choice: Mapping[str, Any]) -> list[Event]:
        events: list[Event] = []
        delta = choice.get("delta") or {}
        content, calls = delta.get("content") or "", _tool_calls(delta.get("tool_calls"))
        if not isinstance(content, str):
            raise TypeError("content is not text")
        if (content or calls) and not self.finished:
            self._called_tools = self._called_tools or bool(calls)
            events.append(Delta(content, calls))
        reason = choice.get("finish_reason")
        if reason and not self.finished:
            self.finished = True
            reason = _REASONS.get(reason, reason)
            if not isinstance(reason, str):
                raise TypeError("finish_reason is not text")
            # TGI ends a tool call on eos_token; OpenAI's clients run the tool only on "tool_calls".
            events.append(Finish("tool_calls" if self._called_tools and reason == "stop" else reason))
        return events

    def _count(self) -> list[Event]:
        return [self._usage] if self._usage is not None and self.finished else []


def _usage(usage: Mapping[str, Any] | None) -> Usage | None:
    if not usage:
        return None
    asked, said = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
    if asked < 0 or said < 0:
        raise ValueError("less than no tokens")
    return Usage(asked, said)


def _tool_calls(calls: object) -> Sequence[Mapping[str, Any]] | None:
    if not calls:
        return None
    listed = [calls] if isinstance(calls, Mapping) else calls  # one object: TGI before 3.2
    if isinstance(listed, list) and all(map(_is_call, listed)):
        return listed
    raise TypeError("tool_calls is not a list of pieces of calls")


def _is_call(call: object) -> bool:
    if not isinstance(call, Mapping) or type(call.get("index", 0)) is not int:
        return False
    function = call.get("function") or {}
    if not isinstance(function, Mapping):
        return False
    return all(isinstance(text, str | None) for text in (call.get("id"), function.get("name")))
