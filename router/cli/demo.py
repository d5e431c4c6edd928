"""`agoge demo`: what `make run` runs. Serves, asks four prompts over HTTP like any client, keeps serving."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import aiohttp
import click

from router.cli.listening import PORT, address, bind
from router.cli.loop import run
from router.cli.options import fail, read_settings, serving_options
from router.cli.server import serving
from router.core.errors import AgogeError
from router.wiring.settings import Settings

PROMPTS = (
    ("physics, in English", "Why is the sky blue?"),
    ("sport, in Russian", "Как подготовиться к марафону?"),
    ("a switch in the prompt", "включить режим: физика+агоге\nПочему лёд плавает?"),
    ("isolated speech", "режим: академический\nExplain the impact of social media on attention."),
)
MAX_TOKENS = 96
GRACE_SECONDS = 5.0  # for open streams: whoever presses Ctrl-C in a demo waits for it
STOPPING_SECONDS = 10.0


@click.command(
    help="Serve on the embedded defaults, ask four prompts, print who spoke and why, keep serving until Ctrl-C."
)
@serving_options
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=PORT, default=8080, show_default=True, help="0 takes any free one.")
@click.option("--once", is_flag=True, help="Stop after the four prompts.")
def command(host: str, port: int, once: bool, **options: Any) -> None:
    """Serve and show."""
    try:
        run(_demo(replace(read_settings(**options), grace=GRACE_SECONDS), host, port, once))
    except (AgogeError, OSError) as error:
        fail(error)


async def _demo(settings: Settings, host: str, port: int, once: bool) -> None:
    listener = bind(host, port)
    base = address(listener)
    click.secho("Agoge: which LoRA adapters should speak?", bold=True)
    try:
        async with serving(settings, listener) as (_, served):
            try:
                async with aiohttp.ClientSession() as session:
                    for title, prompt in PROMPTS:
                        await show(session, base, title, prompt)
            except aiohttp.ClientError:
                await asyncio.wait({served}, timeout=STOPPING_SECONDS)
                if served.done():  # Ctrl-C in the middle of a prompt ends the server first
                    click.echo("\nstopped")
                    return
                raise
            click.secho(
                f"\nServing {base}/v1 (OpenAI-compatible), described by {base}/openapi.json. Ctrl-C stops.",
                bold=True,
            )
            body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": PROMPTS[0][1]}]})
            click.echo(f"  curl -si {base}/v1/chat/completions -H 'content-type: application/json' -d '{body}'")
            if not once:
                await served
    except aiohttp.ClientError as error:
        raise ConnectionError(f"the server broke the connection ({type(error).__name__})") from error
    finally:
        listener.close()


async def show(session: aiohttp.ClientSession, base: str, title: str, prompt: str) -> None:
    """Print one prompt's decision, then its answer as it streams."""
    messages = [{"role": "user", "content": prompt}]
    async with session.post(f"{base}/v1/decisions", json={"messages": messages}) as response:
        told = await response.json()
    click.secho(f"\n> {prompt.replace(chr(10), ' / ')}", fg="cyan", nl=False)
    click.echo(f"   ({title})")
    if "error" in told:
        click.secho(f"  refused   {told['error']['message']}", fg="red")
        return
    label = told["label"]
    click.echo(
        f"  label     {label or 'none'} {told['scores'][label]:.2f}"
        if label
        else "  label     none (out of domain)"
    )
    click.echo("  adapters  " + ", ".join(f"{name} x {weight}" for name, weight in told["adapters"].items()))
    click.echo(f"  why       {told['why']}")
    click.echo("  answer    ", nl=False)
    body = {"model": "auto", "messages": messages, "stream": True, "temperature": 0, "max_tokens": MAX_TOKENS}
    async with session.post(f"{base}/v1/chat/completions", json=body) as response:
        async for line in response.content:
            data = line.decode().removeprefix("data: ").strip()
            if not data or data == "[DONE]":
                continue
            event = json.loads(data)
            if "error" in event:
                click.secho(event["error"]["message"], fg="red", nl=False)
                continue
            for choice in event["choices"]:
                click.echo(choice["delta"].get("content", "").replace("\n", "\n            "), nl=False)
    click.echo()
