"""`agoge serve`: the endpoint, until Ctrl-C; in this process or in several workers."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from router.cli.listening import PORT, HostPort, address, bind
from router.cli.loop import run
from router.cli.options import fail, read_settings, serving_options
from router.cli.post import Post
from router.core.errors import AgogeError
from router.sinks.log import JsonLines, LogSink
from router.wiring.settings import Settings

if TYPE_CHECKING:
    from router.ports import Sink


@click.command(help="Serve the chat endpoint until Ctrl-C. One JSON line per decision goes to standard error.")
@serving_options
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=PORT, default=8080, show_default=True, help="0 takes any free one.")
@click.option(
    "--connections",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="How many clients may be connected at once.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes that share the port and a Redis.",
)
@click.option(
    "--admin", type=HostPort(), help="Serve /metrics, /docs and /openapi.json there, and not beside the API."
)
@click.option(
    "--grace",
    type=click.FloatRange(0, 86_400),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long answers under way may go on once the server is told to stop.",
)
@click.option(
    "--log/--no-log", default=True, show_default=True, help="One JSON line per fact, without prompt text."
)
@click.option("--log-engine-errors", is_flag=True, help="Log what failing engines say; it may quote prompts.")
@click.option("--worker", hidden=True, help="What `--workers` starts is told so.")
def command(
    host: str,
    port: int,
    connections: int,
    workers: int,
    admin: tuple[str, int] | None,
    grace: float,
    log: bool,
    log_engine_errors: bool,
    worker: str | None,
    **options: Any,
) -> None:
    """Serve."""
    sinks = [LogSink(engine_messages=log_engine_errors)] if log else []
    lines = logging.StreamHandler()
    lines.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[lines], force=True)
    try:
        settings = replace(
            read_settings(**options),
            connections=connections,
            workers=workers,
            grace=grace,
            admin=admin is not None,
        )
        # What serves takes half a second to import: whoever only looks after workers goes without.
        if worker is not None:
            from router.cli.worker import work

            sys.exit(run(work(settings, Post.read(worker), sinks)))
        if workers > 1:
            from router.cli.workers import look_after

            sys.exit(asyncio.run(look_after(settings, (host, port), admin)))
        run(_serve(settings, host, port, admin, sinks))
    except (AgogeError, OSError) as error:
        fail(error)


async def _serve(
    settings: Settings, host: str, port: int, admin: tuple[str, int] | None, sinks: Sequence[Sink]
) -> None:
    listener = bind(host, port)
    operators: socket.socket | None = None
    try:
        operators = None if admin is None else bind(*admin, admin=True)
        from router.cli.server import serving

        async with serving(settings, listener, sinks, admin=operators) as (live, served):
            apart = "" if operators is None else f", its metrics on {address(operators)}"
            click.echo(
                f"Agoge serves {address(listener)}/v1{apart}, policy {live.router.state.policies.revision}",
                err=True,
            )
            await served
    finally:
        listener.close()
        if operators is not None:
            operators.close()
