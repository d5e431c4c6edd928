"""Socket Mode against a real websocket server that speaks Slack's protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.channels.slack.socket import SlackRefusedUs, connected
from tests.channels.slack.scene import scene
from tests.stubs import until


async def test_an_event_is_acknowledged_by_its_envelope_and_answered_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as play, connected(play.channel) as name:
        assert name == "@agoge in Academy"
        await until(lambda: play.slack.socket is not None)
        assert play.slack.socket is not None
        body = play.envelope(play.slack.says("Why is the sky blue?"))
        for attempt in range(2):
            await play.slack.socket.send_json(
                {"type": "events_api", "envelope_id": f"e{attempt}", "payload": body, "retry_attempt": attempt}
            )
        await until(lambda: len(play.slack.acknowledged) == 2)
        assert [ack["envelope_id"] for ack in play.slack.acknowledged] == ["e0", "e1"]
        await until(lambda: len(play.slack.own()) == 1)
        await play.idle()
        assert play.slack.own()[0]["text"] == "core=1.0,physics=0.8 says Why is the sky blue?"
        assert len(play.slack.own()) == 1


@pytest.mark.parametrize(
    ("method", "token"), [("auth.test", "SLACK_BOT_TOKEN"), ("apps.connections.open", "SLACK_APP_TOKEN")]
)
async def test_a_wrong_token_is_said_to_be_wrong(tmp_path: Path, method: str, token: str) -> None:
    async with scene(tmp_path) as play:
        play.slack.always[method] = "invalid_auth"
        with pytest.raises(SlackRefusedUs, match=f"{token}: Slack says invalid_auth"):
            async with connected(play.channel):
                raise AssertionError("connected with a wrong token")


async def test_a_lost_connection_is_opened_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as play, connected(play.channel):
        await until(lambda: play.slack.socket is not None)
        lost = play.slack.socket
        assert lost is not None
        await lost.close()
        await until(lambda: play.slack.socket is not None and play.slack.socket is not lost, 30)
        await until(lambda: play.slack.socket is not None and not play.slack.socket.closed)
        body = play.envelope(play.slack.says("Why is the sky blue?"))
        assert play.slack.socket is not None
        await play.slack.socket.send_json({"type": "events_api", "envelope_id": "e", "payload": body})
        await until(lambda: len(play.slack.own()) == 1)
        await play.idle()
