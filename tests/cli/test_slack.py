"""`agoge slack` and `agoge serve` as processes, with Slack's servers played on this machine."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from bench.ports import free_port
from tests.channels.slack.fake import TEAM, fake_slack
from tests.live import ROOT
from tests.stubs import until

COMMAND = [sys.executable, "-m", "router.cli"]


async def test_a_question_over_socket_mode_is_answered_by_the_real_engine(data: Path) -> None:
    async with fake_slack() as slack:
        environment = {
            **os.environ,
            "SLACK_BOT_TOKEN": "xoxb-1",
            "SLACK_APP_TOKEN": "xapp-1",
            "SLACK_API_URL": f"{slack.url}/api/",
        }
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "slack", "--data", str(data), cwd=ROOT, env=environment, stderr=subprocess.PIPE
        )
        try:
            await until(lambda: slack.socket is not None, 240)
            assert slack.socket is not None
            for text, spoke in [
                ("Why is the sky blue?", "core + physics · physics 0."),
                ("mode: academic\nSummarise: lift is pressure difference.", "academic alone · you chose it"),
            ]:
                event = slack.says(text)
                payload = {"type": "event_callback", "team_id": TEAM, "event_id": event["ts"], "event": event}
                envelope = {"type": "events_api", "envelope_id": event["ts"], "payload": payload}
                await slack.socket.send_json(envelope)
                await until(lambda: bool(slack.own()) and "blocks" in slack.own()[-1], 240)
                answer = slack.own()[-1]
                assert answer["blocks"][0]["elements"][0]["text"].startswith(spoke)
                assert answer["text"].strip()
                assert answer["thread_ts"] == event["ts"]
                assert [block["type"] for block in answer["blocks"]] == ["context", "actions", "context_actions"]
                slack.messages.clear()
        finally:
            process.send_signal(signal.SIGINT)
            _, said = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, said.decode()
        assert "Agoge answers as @agoge in Academy" in said.decode()
        assert "Traceback" not in said.decode()
        assert "sky blue" not in said.decode()
        assert "xoxb-1" not in said.decode()


@pytest.mark.parametrize(
    ("verb", "environment", "said"),
    [
        ("slack", {}, "SLACK_BOT_TOKEN is not set"),
        ("slack", {"SLACK_BOT_TOKEN": "xoxb-1"}, "SLACK_APP_TOKEN is not set"),
        ("serve", {"SLACK_SIGNING_SECRET": "s"}, "SLACK_BOT_TOKEN is not"),
    ],
)
def test_what_is_missing_is_said_before_anything_slow(verb: str, environment: dict[str, str], said: str) -> None:
    started = time.monotonic()
    more = ["--port", "0"] if verb == "serve" else []
    done = subprocess.run(
        [*COMMAND, verb, *more],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 60


async def test_agoge_serve_takes_slacks_events_where_its_secrets_are_set(data: Path) -> None:
    port = free_port()
    environment = {**os.environ, "SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": "s3cret"}
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "serve",
        "--data",
        str(data),
        "--port",
        str(port),
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            end = time.monotonic() + 240
            while time.monotonic() < end:
                try:
                    await client.get("/healthz")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.2)
            body, moment = b'{"type":"url_verification","challenge":"c4"}', str(int(time.time()))
            digest = hmac.new(b"s3cret", f"v0:{moment}:".encode() + body, hashlib.sha256).hexdigest()
            headers = {
                "content-type": "application/json",
                "x-slack-request-timestamp": moment,
                "x-slack-signature": f"v0={digest}",
            }
            signed = await client.post("/slack/events", content=body, headers=headers)
            assert (signed.status_code, signed.json()) == (200, {"challenge": "c4"})
            assert (await client.post("/slack/events", content=body)).status_code == 401
    finally:
        process.send_signal(signal.SIGINT)
        _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, said.decode()
