"""`agoge slack`: the router in Slack over Socket Mode, until Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence
from typing import Any

import click

from router.cli.options import fail, read_settings, serving_options
from router.cli.server import Say
from router.core.errors import AgogeError
from router.ports import Sink
from router.sinks.log import JsonLines, LogSink
from router.wiring.app import running
from router.wiring.settings import Settings, SettingsInvalid
from router.wiring.slack import APP, TOKEN, open_slack


@click.command(
    help="Answer in Slack over Socket Mode until Ctrl-C: needs SLACK_BOT_TOKEN and SLACK_APP_TOKEN, and no public "
    "address. (`agoge serve` takes Slack's events over HTTP instead, with SLACK_SIGNING_SECRET.)"
)
@serving_options
@click.option(
    "--log/--no-log", default=True, show_default=True, help="One JSON line per fact, without prompt text."
)
def command(log: bool, **options: Any) -> None:
    """Connect and answer."""
    lines = logging.StreamHandler()
    lines.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[lines], force=True)
    try:
        asyncio.run(_slack(read_settings(**options), [LogSink()] if log else []))
    except (AgogeError, OSError) as error:
        fail(error)


async def _slack(settings: Settings, sinks: Sequence[Sink]) -> None:
    for name in (TOKEN, APP):
        if not settings.given(name):
            raise SettingsInvalid(f"{name} is not set; `agoge slack` needs {TOKEN} and {APP}, see docs/slack.md")
    say = Say()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        async with running(settings, say.beside(sinks), say) as live:
            say.done()
            channel = open_slack(settings, live.router)
            from router.channels.slack.socket import connected

            try:
                async with connected(channel) as name:
                    click.echo(f"Agoge answers as {name}, policy {live.router.state.policies.revision}", err=True)
                    await stopped.wait()
            finally:
                await channel.aclose()
    except BaseException:
        say.pause()
        raise
