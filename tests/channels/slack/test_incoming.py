"""Slack's wire text as people wrote it, and threads as conversations."""

from __future__ import annotations

from typing import Any

import pytest

from router.channels.slack.history import conversation, metadata
from router.channels.slack.incoming import Me, Question, plain, question

ME = Me("T1", "UBOT", "B1")


@pytest.mark.parametrize(
    ("wire", "said"),
    [
        ("<@UBOT> mode: physics", "mode: physics"),
        ("<@UBOT>: mode: physics", "mode: physics"),
        ("  <@UBOT|agoge>, режим: физика", "режим: физика"),
        ("hey <@UBOT> you", "hey you"),
        ("thanks <@UBOT>", "thanks"),
        ("<@UANN> asks", "@UANN asks"),
        ("<@UANN|ann> asks", "ann asks"),
        ("in <#C1|general> <!here> <!subteam^S1|@team>", "in #general @here @team"),
        ("see <https://a.b/?x=1&amp;y=2|a.b> and <mailto:a@b.c>", "see a.b and a@b.c"),
        ("a &lt; b &amp;&amp; c &gt; d", "a < b && c > d"),
        ("&lt;@UBOT&gt; is how it is written", "<@UBOT> is how it is written"),
        ("&amp;lt;", "&lt;"),
        ("<@UBOT>", ""),
        ("", ""),
    ],
)
def test_text_as_its_author_saw_it(wire: str, said: str) -> None:
    assert plain(wire, "UBOT") == said


def event(**more: Any) -> dict[str, Any]:
    return {
        "type": "message",
        "channel_type": "im",
        "channel": "D1",
        "user": "U1",
        "ts": "2.1",
        "text": "hi",
        **more,
    }


def test_a_question_and_its_thread() -> None:
    assert question(event(), ME) == Question("T1", "D1", "U1", "2.1", "2.1", "hi", "T1")
    asked = question(event(thread_ts="1.1", user_team="T2"), ME)
    assert asked == Question("T1", "D1", "U1", "2.1", "1.1", "hi", "T2")
    assert asked is not None
    assert asked.follows


@pytest.mark.parametrize(
    "more", [{"user": None}, {"ts": None}, {"channel": 5}, {"text": ["x"]}, {"user": "USLACKBOT"}]
)
def test_what_is_no_question(more: dict[str, Any]) -> None:
    assert question(event(**more), ME) is None


def ours(ts: str, text: str, **more: Any) -> dict[str, Any]:
    return {"user": "UBOT", "bot_id": "B1", "ts": ts, "text": text, **more}


def test_a_thread_as_a_conversation() -> None:
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "whole &amp; long"}}
    replies = [
        ours("1.000000", "New Assistant Thread", subtype="assistant_app_thread"),
        ours("1.9", "late, and older than the question"),
        {"user": "U1", "ts": "1.000001", "text": "<@UBOT> first"},
        ours("1.000002", "an answer"),
        ours("1.000003", "in two parts"),
        {"user": "U2", "bot_id": "B7", "ts": "1.1", "text": "another bot"},
        ours("1.2", "sorry", metadata=metadata("agoge_notice")),
        {"user": "U1", "ts": "1.3", "text": "again"},
        ours("1.4", "half an"),
        ours("1.5", "answer, broken off", metadata=metadata("agoge_broken")),
        {"user": "U1", "ts": "1.6", "text": ""},
        ours("1.7", "whole & l…", blocks=[section, {"type": "context", "elements": []}]),
        {"user": "U1", "ts": "2.000000", "text": "the question as Slack has it now"},
        {"user": "U1", "ts": "2.000001", "text": "a later one"},
        ours("10.0", "a later answer"),
    ]
    asked = Question("T1", "C1", "U1", "2.000000", "1.000001", "the question")
    said = [(message.role, message.text) for message in conversation(replies, asked, ME).messages]
    assert said == [
        ("user", "first"),
        ("assistant", "an answer\n\nin two parts"),
        ("user", "again"),
        ("assistant", "whole & long\n\nlate, and older than the question"),
        ("user", "the question"),
    ]
