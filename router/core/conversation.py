"""The conversation as it came in, whatever the channel. Knows no wire format beyond OpenAI's message roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `content` is text, or OpenAI content parts, or None (a tool call); `extra` is the rest.

    `extra` carries what the engine needs and the router does not read: name, tool_calls, tool_call_id.
    """

    role: str
    content: str | Sequence[Mapping[str, Any]] | None
    extra: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        """All the text in the message: the string itself, or its text parts joined by newlines."""
        if self.content is None:
            return ""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(
            part["text"]
            for part in self.content
            if part.get("type") == "text" and isinstance(part.get("text"), str)
        )

    def with_text(self, text: str) -> Message:
        """Return the message saying `text` instead; images stay, the text becomes the first part."""
        if self.content is None or isinstance(self.content, str):
            return replace(self, content=text)
        others = [part for part in self.content if part.get("type") != "text"]
        return replace(self, content=[{"type": "text", "text": text}, *others] if text else others)


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages, oldest first."""

    messages: tuple[Message, ...]
