"""Slack's servers on one side, the real router and the real Bolt on the other, and all they say."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from fastapi import FastAPI

from router.channels.slack.app import Credentials, SlackChannel
from router.channels.slack.routes import slack_routes
from router.core.outcome import Outcome
from router.ports import Claims, OutcomesUnavailable
from tests.channels.slack.fake import PERSON, TEAM, FakeSlack, fake_slack
from tests.stage import Stage, staged
from tests.stubs import SpeakingBackend, listening, until

SECRET = "the signing secret"


@dataclass
class Kept:
    """An outcome store in memory, which can be told to be away."""

    outcomes: list[Outcome] = field(default_factory=list)
    away: bool = False

    async def add(self, outcome: Outcome) -> None:
        if self.away:
            raise OutcomesUnavailable("away")
        self.outcomes.append(outcome)

    async def read(self) -> AsyncIterator[Outcome]:
        for outcome in self.outcomes:
            yield outcome

    async def aclose(self) -> None:
        return None


@dataclass
class Scene:
    """Everything a test may look at."""

    stage: Stage
    slack: FakeSlack
    channel: SlackChannel
    url: str
    kept: Kept
    events: int = 0

    @property
    def backend(self) -> SpeakingBackend:
        return self.stage.backends["first"]

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        kind: str = "application/json",
        at: float | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        """Send a signed request, signed `at` seconds since 1970."""
        moment = str(int(time.time() if at is None else at))
        digest = hmac.new(SECRET.encode(), b"v0:" + moment.encode() + b":" + body, hashlib.sha256).hexdigest()
        signed = {
            "content-type": kind,
            "x-slack-request-timestamp": moment,
            "x-slack-signature": f"v0={digest}",
            **(headers or {}),
        }
        async with httpx.AsyncClient(timeout=30) as client:
            return await client.post(f"{self.url}/slack/{path}", content=body, headers=signed)

    def envelope(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return an event as Slack delivers it."""
        self.events += 1
        return {
            "type": "event_callback",
            "team_id": TEAM,
            "api_app_id": "A1",
            "event_id": f"Ev{self.events}",
            "authorizations": [{"team_id": TEAM, "user_id": "UBOT", "is_bot": True}],
            "event": event,
        }

    async def deliver(self, event: Mapping[str, Any], **how: Any) -> httpx.Response:
        """Deliver an event."""
        return await self.post("events", json.dumps(self.envelope(event)).encode(), **how)

    async def asks(self, text: str, **more: Any) -> dict[str, Any]:
        """Let a person write, deliver it, wait until our answer is complete; return the person's message."""
        event = self.slack.says(text, **more)
        channel = event["channel"]
        before = len(self.slack.own(channel))
        if not channel.startswith("D"):
            event = {**event, "type": "app_mention"}
        assert (await self.deliver(event)).status_code == 200
        await until(lambda: len(self.slack.own(channel)) > before)
        await self.idle()
        return event

    async def idle(self) -> None:
        """Wait until nothing is being worked on."""
        await until(lambda: not self.channel._tasks)

    async def presses(self, message: Mapping[str, Any], action: Mapping[str, Any], channel: str = "D1") -> None:
        """Let the person press a button under `message`."""
        self.events += 1
        body = {
            "type": "block_actions",
            "team": {"id": TEAM},
            "user": {"id": PERSON, "team_id": TEAM},
            "api_app_id": "A1",
            "trigger_id": f"trigger{self.events}",
            "channel": {"id": channel},
            "container": {"type": "message", "channel_id": channel, "message_ts": message["ts"]},
            "message": dict(message),
            "actions": [{**action, "block_id": "b", "action_ts": f"{self.events}.0"}],
        }
        form = urlencode({"payload": json.dumps(body)}).encode()
        answer = await self.post("interactions", form, kind="application/x-www-form-urlencoded")
        assert answer.status_code == 200
        await self.idle()

    async def commands(self, text: str, channel: str = "C1") -> httpx.Response:
        """Let the person type `/agoge text`."""
        self.events += 1
        form = {
            "command": "/agoge",
            "text": text,
            "team_id": TEAM,
            "channel_id": channel,
            "user_id": PERSON,
            "response_url": f"{self.slack.url}/respond",
            "trigger_id": f"trigger{self.events}",
        }
        answer = await self.post("commands", urlencode(form).encode(), kind="application/x-www-form-urlencoded")
        await self.idle()
        return answer


@asynccontextmanager
async def scene(
    folder: Path,
    *,
    claims: Claims | None = None,
    slack: FakeSlack | None = None,
    thumbs: bool = True,
    pace: float = 0.0,
    caller: tuple[str, str | None] = ("default", None),
    **how: Any,
) -> AsyncIterator[Scene]:
    """Set everything up; a second scene on the same `slack` is another replica."""
    if slack is None:
        async with (
            fake_slack() as fresh,
            scene(folder, claims=claims, slack=fresh, thumbs=thumbs, pace=pace, caller=caller, **how) as made,
        ):
            yield made
        return
    kept = Kept()
    async with staged(folder, outcomes=kept if thumbs else None, **how) as stage:
        channel = SlackChannel(
            stage.router,
            Credentials("xoxb-1", SECRET, "xapp-1", f"{slack.url}/api/"),
            lambda: caller,
            claims=claims,
            pace=pace,
        )
        app = FastAPI()
        app.include_router(slack_routes(channel))
        try:
            async with listening(app) as url:
                yield Scene(stage, slack, channel, url, kept)
        finally:
            await channel.aclose()


def button(message: Mapping[str, Any], action_id: str) -> dict[str, Any]:
    """Return the action of a button under `message`."""
    for block in message.get("blocks") or ():
        for element in block.get("elements") or ():
            if element.get("action_id") == action_id:
                return dict(element)
    raise AssertionError(f"no {action_id} under {message}")
