"""Slack's payloads of any shape: nobody's but Slack's are read, and no shape of them breaks the channel."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.channels.slack.blocks import Asked, Pressed
from router.channels.slack.history import conversation
from router.channels.slack.incoming import Me, Question, question
from tests.channels.slack.scene import PERSON, TEAM, scene
from tests.fuzz.chance import TIMES
from tests.fuzz.values import DEEP, JSON, near

ME = Me(TEAM, "UBOT", "BBOT")
SAID = {
    "type": "message",
    "channel": "D1",
    "channel_type": "im",
    "user": PERSON,
    "ts": "1.5",
    "text": "<@UBOT> sky",
}
EVENT = {**SAID, "thread_ts": "1.0", "team": TEAM, "subtype": None, "assistant_thread": {"channel_id": "D1"}}
ENVELOPE = {
    "type": "event_callback",
    "team_id": TEAM,
    "event_id": "Ev1",
    "authorizations": [{"team_id": TEAM, "user_id": "UBOT", "is_bot": True}],
    "event": EVENT,
}
PRESS = {
    "type": "block_actions",
    "team": {"id": TEAM},
    "user": {"id": PERSON},
    "trigger_id": "t",
    "channel": {"id": "D1"},
    "container": {"type": "message", "channel_id": "D1", "message_ts": "1.5"},
    "message": {
        "ts": "1.5",
        "text": "x",
        "blocks": [{"elements": [{"action_id": "agoge_why", "text": {"text": "?"}}]}],
    },
    "actions": [{"action_id": "agoge_why", "block_id": "b", "value": "dec_0 1.5 1.0", "action_ts": "2.0"}],
}
COMMAND = {"command": "/agoge", "text": "help", "team_id": TEAM, "channel_id": "C1", "user_id": PERSON}
THUMB = {"id": "dec_0", "v": "right", "l": "physics", "t": "sky"}


def form(fields: Any) -> bytes:
    pairs = fields.items() if isinstance(fields, dict) else [("payload", fields)]
    return "&".join(f"{quote_plus(str(k).encode('utf-8', 'replace'))}={_plus(v)}" for k, v in pairs).encode()


def _plus(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return quote_plus(text.encode("utf-8", "replace"))


JSON_BODY, FORM_BODY = "application/json", "application/x-www-form-urlencoded"
REQUESTS = st.one_of(
    st.tuples(st.just("events"), st.just(JSON_BODY), (near(ENVELOPE) | JSON).map(json.dumps).map(str.encode)),
    st.tuples(
        st.just("interactions"), st.just(FORM_BODY), near(PRESS).map(lambda press: form({"payload": press}))
    ),
    st.tuples(st.just("commands"), st.just(FORM_BODY), near(COMMAND).map(form)),
    st.tuples(
        st.sampled_from(["events", "interactions", "commands"]),
        st.sampled_from([JSON_BODY, FORM_BODY, "text/plain", ""]),
        st.binary(max_size=60) | st.sampled_from([b"payload=%00", b"payload=%7B%7D", b"&&&=", b"payload", b"{}"]),
    ),
)


async def test_any_signed_payload_is_borne_and_any_unsigned_one_refused(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        loop = asyncio.get_running_loop()

        def answered(*asked: Any, **how: Any) -> int:
            return asyncio.run_coroutine_threadsafe(play.post(*asked, **how), loop).result(60).status_code

        @example(("events", JSON_BODY, DEEP))
        @example(("interactions", FORM_BODY, b"payload=" + DEEP))
        @settings(max_examples=40 * TIMES)
        @given(REQUESTS)
        def attack(request: tuple[str, str, bytes]) -> None:
            path, kind, body = request
            # 401: bytes that are no text; 500: Bolt's own, for what Slack never sends (an action without actions)
            assert answered(path, body, kind=kind) in (200, 400, 401, 404, 500)
            assert answered(path, body, kind=kind, headers={"x-slack-signature": "v0=" + "0" * 64}) == 401

        await asyncio.to_thread(attack)
        await play.idle()
        await play.asks("Why is the sky blue?")
        assert all(backend.open_streams == 0 for backend in play.stage.backends.values())


@given(near(EVENT), st.lists(near(SAID), max_size=4))
def test_any_event_is_a_question_or_none(event: Any, replies: list[Any]) -> None:
    asked = question(event, ME) if isinstance(event, dict) else None
    asked = asked or Question(TEAM, "D1", PERSON, "1.5", "1.0", "sky")
    assert all(isinstance(part, str) for part in (asked.channel, asked.user, asked.ts, asked.thread, asked.text))
    said = conversation([reply for reply in replies if isinstance(reply, dict)], asked, ME)
    assert said.messages[-1].text == asked.text
    assert all(isinstance(message.text, str) for message in said.messages)


@given((near(THUMB) | JSON).map(json.dumps) | st.text(max_size=30) | st.just(DEEP.decode()))
def test_any_value_of_a_button_is_ours_or_refused(value: str) -> None:
    Asked.read(value)
    try:
        pressed = Pressed.read(value)
    except ValueError as refused:
        assert "not a button" in str(refused)  # noqa: PT017 - most are not
        return
    assert pressed.verdict in ("right", "wrong")
