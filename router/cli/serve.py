"""`agoge serve`: the endpoint, until Ctrl-C."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from router.cli.options import fail, read_settings, serving_options
from router.cli.server import bind, serving
from router.core.errors import AgogeError
from router.sinks.log import LogSink
from router.wiring.settings import Settings


@click.command(help="Serve the chat endpoint until Ctrl-C. One JSON line per decision goes to standard error.")
@serving_options
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8080, show_default=True)
@click.option(
    "--log/--no-log", default=True, show_default=True, help="One JSON line per fact, without prompt text."
)
def command(host: str, port: int, log: bool, **options: Any) -> None:
    """Serve."""
    try:
        asyncio.run(_serve(read_settings(**options), host, port, log))
    except (AgogeError, OSError) as error:
        fail(error)


async def _serve(settings: Settings, host: str, port: int, log: bool) -> None:
    listener = bind(host, port)
    try:
        async with serving(settings, listener, [LogSink()] if log else []) as (live, served):
            click.echo(
                f"Agoge serves http://{host}:{port}/v1, policy {live.router.state.policies.revision}", err=True
            )
            await served
    finally:
        listener.close()
