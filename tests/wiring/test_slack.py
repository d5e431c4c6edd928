"""Which settings make a Slack channel, and what is said about those that do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from router.channels.slack.app import Credentials
from router.wiring.settings import Settings, SettingsInvalid
from router.wiring.slack import mount_slack, open_slack, speaks_http
from tests.stage import staged
from tests.stubs import listening

BOTH = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": "s"}


@pytest.mark.parametrize(
    ("environment", "http"),
    [({}, False), (BOTH, True), ({"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}, False)],
)
def test_http_is_spoken_where_slack_signs(environment: dict[str, str], http: bool) -> None:
    assert speaks_http(Settings(environment=environment)) is http


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SLACK_SIGNING_SECRET": "s"}, "SLACK_BOT_TOKEN is not"),
        ({"SLACK_BOT_TOKEN": "xoxb-1"}, "neither SLACK_SIGNING_SECRET"),
    ],
)
def test_half_of_it_is_refused(environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsInvalid, match=said):
        speaks_http(Settings(environment=environment))


KEYS = "keys:\n  sk-slack: { tenant: default }\n"


@pytest.mark.parametrize(
    ("environment", "keys", "said"),
    [
        ({}, False, "SLACK_BOT_TOKEN is not set"),
        ({**BOTH, "SLACK_CLIENT_ID": "1", "SLACK_CLIENT_SECRET": "2"}, False, "unset SLACK_CLIENT_ID"),
        (BOTH, True, "AGOGE_SLACK_KEY must hold one of its keys"),
        ({**BOTH, "AGOGE_SLACK_KEY": "another"}, True, "AGOGE_SLACK_KEY must hold one of its keys"),
    ],
)
async def test_what_is_missing_is_named(
    tmp_path: Path, environment: dict[str, str], keys: bool, said: str
) -> None:
    async with staged(tmp_path) as stage:
        with pytest.raises(SettingsInvalid, match=said) as refused:
            open_slack(settings(tmp_path, environment, keys), stage.router)
        assert "sk-slack" not in str(refused.value)


async def test_it_is_mounted_under_slack_and_left_out_of_the_description(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        app = FastAPI()
        channel = mount_slack(app, settings(tmp_path, {**BOTH, "AGOGE_SLACK_KEY": "sk-slack"}, True), stage.router)
        try:
            async with listening(app) as url, httpx.AsyncClient() as client:
                for path in ("events", "commands", "interactions"):
                    assert (await client.post(f"{url}/slack/{path}", content=b"{}")).status_code == 401
                assert "slack" not in (await client.get(f"{url}/openapi.json")).text
        finally:
            await channel.aclose()


def test_no_representation_shows_a_secret() -> None:
    assert "xoxb" not in repr(Credentials("xoxb-1", "s3cret", "xapp-1"))


def settings(folder: Path, environment: dict[str, str], keys: bool) -> Settings:
    more: dict[str, Any] = {}
    if keys:
        more["keys"] = folder / "keys.yaml"
        more["keys"].write_text(KEYS, "utf-8")
    return Settings(environment=environment, **more)
