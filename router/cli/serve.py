"""`agoge serve`: the endpoint, until Ctrl-C."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import click

from router.cli.options import fail, read_settings, serving_options
from router.cli.server import PORT, address, bind, run, serving
from router.core.errors import AgogeError
from router.ports import Sink
from router.sinks.log import JsonLines, LogSink
from router.wiring.settings import Settings


@click.command(help="Serve the chat endpoint until Ctrl-C. One JSON line per decision goes to standard error.")
@serving_options
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=PORT, default=8080, show_default=True, help="0 takes any free one.")
@click.option(
    "--log/--no-log", default=True, show_default=True, help="One JSON line per fact, without prompt text."
)
@click.option("--log-engine-errors", is_flag=True, help="Log what failing engines say; it may quote prompts.")
def command(host: str, port: int, log: bool, log_engine_errors: bool, **options: Any) -> None:
    """Serve."""
    sinks = [LogSink(engine_messages=log_engine_errors)] if log else []
    lines = logging.StreamHandler()
    lines.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[lines], force=True)
    try:
        run(_serve(read_settings(**options), host, port, sinks))
    except (AgogeError, OSError) as error:
        fail(error)


async def _serve(settings: Settings, host: str, port: int, sinks: Sequence[Sink]) -> None:
    listener = bind(host, port)
    try:
        async with serving(settings, listener, sinks) as (live, served):
            click.echo(
                f"Agoge serves {address(listener)}/v1, policy {live.router.state.policies.revision}", err=True
            )
            await served
    finally:
        listener.close()
