"""`agoge ask TEXT`: one question to a running server. Knows the terminal; the wire is client.py's."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import click

from router.cli.client import KEY, URL, Client, Refusal, UrlInvalid
from router.cli.decide_text import lines, lines_explained
from router.cli.options import fail
from router.cli.speech import Speech, readable
from router.wiring.secret import SecretInvalid, secret

CODES = (
    "Exit codes: 0 answered, 1 refused or broken off, and why, 2 wrong usage, 130 interrupted. The server's key, "
    f"where it wants one, is read from {KEY}."
)


@click.command(epilog=CODES)
@click.argument("text")
@click.option("--url", default=URL, show_default=True, help="Where the server is.")
@click.option(
    "--mode", default="auto", show_default=True, metavar="NAME", help="Who speaks: auto, physics, physics+core ..."
)
@click.option("--max-tokens", type=click.IntRange(1), help="How long the answer may be.")
@click.option("--why", is_flag=True, help="Print after the answer why these adapters spoke.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object when the answer is whole.")
def command(text: str, url: str, mode: str, max_tokens: int | None, why: bool, as_json: bool) -> None:
    """Ask a running server TEXT, or what standard input says where TEXT is -, and print the answer as it comes."""
    if text == "-":
        text = sys.stdin.read()
    try:
        text.encode()
        client = Client(url, secret(os.environ, KEY))
    except UnicodeEncodeError:
        raise click.UsageError("TEXT is not UTF-8") from None
    except SecretInvalid as error:
        raise click.UsageError(str(error)) from None
    except UrlInvalid as error:
        raise click.UsageError(f"--url: {error}") from None
    if not text.strip():
        raise click.UsageError("TEXT is empty; there is nothing to ask")
    more = {} if max_tokens is None else {"max_tokens": max_tokens}
    try:
        asyncio.run((_whole if as_json else _streamed)(client, text, mode, why, more))
    except Refusal as error:
        if as_json:
            click.echo(json.dumps(error.told, ensure_ascii=False, indent=2))
        fail(error)


async def _streamed(client: Client, text: str, mode: str, why: bool, more: dict[str, Any]) -> None:
    speech = Speech()
    async with client:
        try:
            async with client.answering([{"role": "user", "content": text}], mode, **more) as answer:
                async for piece in answer.text:
                    speech.say(piece)
        finally:
            speech.end()
        if why:
            click.echo()
            await show_why(client, answer.explained)


async def _whole(client: Client, text: str, mode: str, why: bool, more: dict[str, Any]) -> None:
    async with client:
        told, link = await client.answer([{"role": "user", "content": text}], mode, **more)
        if why:
            told["explanation"] = await explanation(client, link)
    click.echo(json.dumps(told, ensure_ascii=False, indent=2))


async def explanation(client: Client, link: str | None) -> dict[str, Any]:
    """Return the explanation that an answer's Link header leads to. Raises Refusal without one."""
    if link is None:
        raise Refusal("the server's answer says nothing about who spoke; is it Agoge?")
    return await client.get(link)


async def show_why(client: Client, link: str | None) -> None:
    """Print who spoke and why."""
    told = await explanation(client, link)
    told["nearest"] = told["nearest"] or ()  # not looked at where the decision came out of the cache
    for line in (*lines(told), *lines_explained(told)):
        click.echo(readable(line))
