"""A Slack event -> a question, or nothing when nobody asked. Pure; knows no Slack call and no router.

Nothing is asked by bots (ourselves among them), by edits, deletions and notices, and by messages in channels that
do not mention us.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SUBTYPES = (None, "file_share", "thread_broadcast")  # what people write; everything else Slack itself wrote
_TOKEN = re.compile(r"<([^<>\n]{1,3000})>")
_LEADING = re.compile(r"\s*[,:;]?\s*")


@dataclass(frozen=True, slots=True)
class Me:
    """Who we are in this workspace."""

    team: str
    user: str
    bot: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a person wants answered. `ts` names the message, `thread` its thread's first message (or itself)."""

    team: str
    channel: str
    user: str
    ts: str
    thread: str
    text: str
    person_team: str = ""

    @property
    def follows(self) -> bool:
        """Say whether something was said in this thread before."""
        return self.thread != self.ts

    @property
    def key(self) -> str:
        """What every delivery of this message has in common, under whatever event it comes."""
        return f"message:{self.team}:{self.channel}:{self.ts}"


def question(event: Mapping[str, Any], me: Me) -> Question | None:
    """Return what a `message` or `app_mention` event asks, None when it asks nothing of us."""
    if not is_persons(event) or event.get("hidden"):
        return None
    channel, ts, text = event.get("channel"), event.get("ts"), event.get("text") or ""
    if not isinstance(channel, str) or not isinstance(ts, str) or not isinstance(text, str):
        return None
    if event.get("type") == "message" and event.get("channel_type") != "im":
        return None  # in channels we answer mentions, which come as events of their own
    thread = event.get("thread_ts") or ts
    team = event.get("user_team") or event.get("team") or me.team
    return Question(me.team, channel, str(event["user"]), ts, str(thread), plain(text, me.user), str(team))


def is_persons(message: Mapping[str, Any]) -> bool:
    """Say whether a person wrote this message."""
    return (
        message.get("subtype") in _SUBTYPES
        and not message.get("bot_id")
        and not message.get("bot_profile")
        and isinstance(message.get("user"), str)
        and message.get("user") != "USLACKBOT"
    )


def plain(text: str, me: str) -> str:
    """Return Slack's wire text as its author saw it, without the mention of us (user id `me`).

    Slack marks links and mentions as `<...>` and escapes the author's own `&`, `<` and `>`.
    """
    said, end, start = [], 0, True
    for token in _TOKEN.finditer(text):
        said.append(_unescaped(text[end : token.start()]))
        end = token.end()
        if token.group(1).partition("|")[0] == f"@{me}":
            if start and not "".join(said).strip():  # "@agoge: mode: physics" begins with the directive
                behind = _LEADING.match(text, end)
                end = behind.end() if behind else end
            elif said[-1].endswith(" ") and text[end : end + 1] in ("", " ", "\n"):
                said[-1] = said[-1][:-1]
            continue
        start = False
        said.append(_shown(token.group(1)))
    said.append(_unescaped(text[end:]))
    return "".join(said).strip()


def _shown(token: str) -> str:
    """Return what a person sees of a link or a mention."""
    target, _, label = token.partition("|")
    if label:
        return ("#" if target.startswith("#") else "") + _unescaped(label)
    if target.startswith("!"):
        return "@" + target[1:].partition("^")[0]
    return _unescaped(target.removeprefix("mailto:"))


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
