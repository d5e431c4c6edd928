"""Socket Mode: Slack's events over a connection that we open, so that no address of ours has to be public.

Knows no event; `app.py` answers them as it does over HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler

from router.channels.slack.app import SlackChannel
from router.channels.slack.calls import Slack, SlackFailed
from router.core.errors import AgogeError


class SlackRefusedUs(AgogeError):
    """Slack does not let us in; the message says with which token, and why."""


@asynccontextmanager
async def connected(channel: SlackChannel) -> AsyncIterator[str]:
    """Connect, yield the bot's name in its workspace, disconnect. Lost connections are opened again meanwhile.

    Raises SlackRefusedUs when a token is wrong or Slack cannot be reached.
    """
    slack = Slack(channel.client)
    try:
        me = await slack.call("auth.test")
    except SlackFailed as error:
        raise SlackRefusedUs(
            f"SLACK_BOT_TOKEN: Slack says {error.code}; it begins with xoxb- and stands under OAuth & Permissions"
        ) from None
    handler = AsyncSocketModeHandler(channel.bolt, channel.credentials.app_token)
    try:
        try:  # asked once here: the handler itself would try for ever
            handler.client.wss_uri = await handler.client.issue_new_wss_url()
        except Exception as error:
            code = getattr(error, "response", {}).get("error") or type(error).__name__
            raise SlackRefusedUs(
                f"SLACK_APP_TOKEN: Slack says {code}; it begins with xapp- and needs the scope connections:write"
            ) from None
        await handler.connect_async()
        yield f"@{me.get('user')} in {me.get('team')}"
    finally:
        await handler.close_async()
