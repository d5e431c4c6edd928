"""A Slack thread -> the conversation that the router reads. Pure; knows no Slack call.

People are users, we are the assistant. Other bots and our own notices (errors, help) are left out; an answer that
took several messages is one again. Only what stood in the thread when the question was asked counts: events may
arrive in any order, and a later message must not change an earlier one's answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from router.channels.slack.incoming import Me, Question, is_persons, plain
from router.core.conversation import Conversation, Message

ANSWER = "agoge_answer"
"""`event_type` of the metadata on our answers; it carries the decision's id and nothing else."""
NOTICE = "agoge_notice"
"""The same on what is no answer: errors, hints. Nobody's words, so no engine reads them."""
BROKEN = "agoge_broken"
"""The same on the last message of an answer that broke off: the messages of it before that one go with it."""


def metadata(kind: str, **payload: str) -> dict[str, Any]:
    """Return the metadata of a message of ours."""
    return {"event_type": kind, "event_payload": payload}


def conversation(replies: Sequence[Mapping[str, Any]], asked: Question, me: Me) -> Conversation:
    """Return the thread up to `asked`, which is the last message whatever Slack returned."""
    said: list[Message] = []
    for reply in sorted(replies, key=lambda reply: _moment(reply.get("ts"))):
        if _moment(reply.get("ts")) >= _moment(asked.ts):
            continue
        if _kind(reply) == BROKEN and _is_ours(reply, me):
            if said and said[-1].role == "assistant":
                said.pop()
            continue
        message = _message(reply, me)
        if message is None:
            continue
        if said and said[-1].role == message.role == "assistant":
            message = Message("assistant", f"{said.pop().text}\n\n{message.text}")
        said.append(message)
    return Conversation((*said, Message("user", asked.text)))


def _message(reply: Mapping[str, Any], me: Me) -> Message | None:
    if reply.get("subtype") == "assistant_app_thread":
        return None  # how Slack itself opens an assistant thread, in our name
    if _is_ours(reply, me):
        text = _own(reply, me)
        return Message("assistant", text) if text and _kind(reply) != NOTICE else None
    if not is_persons(reply):
        return None
    text = plain(_text(reply), me.user)
    return Message("user", text) if text else None


def _is_ours(reply: Mapping[str, Any], me: Me) -> bool:
    return reply.get("user") == me.user or bool(me.bot and reply.get("bot_id") == me.bot)


def _kind(reply: Mapping[str, Any]) -> object:
    metadata = reply.get("metadata")
    return metadata.get("event_type") if isinstance(metadata, Mapping) else None


def _text(holder: Mapping[str, Any]) -> str:
    text = holder.get("text")
    return text if isinstance(text, str) else ""


def _own(reply: Mapping[str, Any], me: Me) -> str:
    """Return one of our messages: from its sections where it has them, since its text may be shortened."""
    texts = []
    blocks = reply.get("blocks")
    for block in blocks if isinstance(blocks, list) else ():
        if not isinstance(block, Mapping):
            continue
        if block.get("type") == "section" and isinstance(block.get("text"), Mapping):
            texts.append(plain(_text(block["text"]), me.user))
        elif block.get("type") == "markdown":
            texts.append(_text(block))
    return "\n\n".join(filter(None, texts)) or plain(_text(reply), me.user)


def _moment(ts: object) -> tuple[int, int]:
    """Return a message's ts as numbers: seconds, and its place within the second."""
    seconds, _, place = str(ts or "0").partition(".")
    return (int(seconds) if seconds.isdecimal() else 0, int(place) if place.isdecimal() else 0)
