"""`agoge chat`: a conversation with a running server. Knows the terminal; the wire is client.py's.

Ctrl-C stops an answer, and at the prompt leaves. Standard input may be a pipe: then no prompt is printed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field

import click

from router.cli.ask import CODES, show_why
from router.cli.client import KEY, URL, Client, Message, Refusal, UrlInvalid
from router.cli.speech import Speech, readable
from router.wiring.secret import SecretInvalid, secret

PROMPT = "> "
COMMANDS = (
    "/mode NAME  who speaks from now on: auto, an adapter, or a set such as physics+core; alone it lists them\n"
    "/why        why the last answer's adapters spoke\n"
    "/new        forget what was said; the mode stays\n"
    "/quit       leave"
)


@click.command(epilog=CODES)
@click.option("--url", default=URL, show_default=True, help="Where the server is.")
@click.option("--mode", default="auto", show_default=True, metavar="NAME", help="Who speaks; /mode changes it.")
@click.option("--max-tokens", type=click.IntRange(1), help="How long an answer may be.")
def command(url: str, mode: str, max_tokens: int | None) -> None:
    """Talk with a running server. Each answer says who spoke; /help lists what else can be said.

    Ctrl-C stops an answer; at the prompt it leaves.
    """
    try:
        client = Client(url, secret(os.environ, KEY))
    except SecretInvalid as error:
        raise click.UsageError(str(error)) from None
    except UrlInvalid as error:
        raise click.UsageError(f"--url: {error}") from None
    with asyncio.Runner() as runner:
        runner.run(client.__aenter__())
        try:
            _converse(runner, Chat(client, mode, {} if max_tokens is None else {"max_tokens": max_tokens}))
        finally:
            runner.run(client.__aexit__())


@dataclass
class Chat:
    """What was said, the mode, and where the last answer is explained."""

    client: Client
    mode: str
    more: dict[str, int]
    said: list[Message] = field(default_factory=list)
    explained: str | None = None

    async def take(self, line: str) -> None:
        """Do what a line says: a command, or a message. Raises Refusal."""
        verb, _, rest = line.strip().partition(" ")
        match verb:
            case "/mode" | "/режим":
                await self._switch(rest.strip())
            case "/why":
                if self.explained is None:
                    raise Refusal("nothing was answered yet")
                await show_why(self.client, self.explained)
            case "/new":
                self.said, self.explained = [], None
                click.echo("a new conversation", err=True)
            case "/help":
                click.echo(COMMANDS, err=True)
            case _ if verb.startswith("/") and "/" not in verb[1:] and verb[1:].isalpha():
                raise Refusal(f"there is no {readable(verb)}; there are /mode NAME, /why, /new, /quit and /help")
            case _:
                await self._answer(line)

    async def _switch(self, mode: str) -> None:
        if not mode:
            names = [each["id"] for each in (await self.client.get("/v1/models"))["data"]]
            click.echo(f"mode {self.mode}; there are {readable(', '.join(names))}", err=True)
            return
        await self.client.decide("", mode)  # refused here and now, or it may be asked for
        self.mode = mode
        click.echo(f"mode {mode}", err=True)

    async def _answer(self, line: str) -> None:
        """Print the answer to a message. Both join the conversation, unless not a word was answered."""
        question: Message = {"role": "user", "content": line}
        speech = Speech()
        try:
            async with self.client.answering([*self.said, question], self.mode, **self.more) as answer:
                self.explained = answer.explained
                async for piece in answer.text:
                    speech.say(piece)
            speech.end()
            click.secho(f"[{readable(answer.who)}]", dim=True)
        except BaseException:  # Ctrl-C too
            speech.end()
            raise
        finally:
            if speech.text:
                self.said += [question, {"role": "assistant", "content": speech.text}]


def _converse(runner: asyncio.Runner, chat: Chat) -> None:
    terminal = sys.stdin.isatty()
    if terminal:
        with suppress(ImportError):
            import readline  # noqa: F401 - line editing and history for input()
        click.echo(
            "/help lists what can be said besides questions; Ctrl-C stops an answer, here it leaves", err=True
        )
    while (line := _read_line(terminal)) is not None:
        if not line.strip():
            continue
        if line.strip() == "/quit":
            return
        try:
            line.encode()
            runner.run(chat.take(line))
        except UnicodeEncodeError:
            click.secho("agoge: that was not UTF-8", fg="red", err=True)
        except Refusal as error:
            click.secho(f"agoge: {readable(str(error))}", fg="red", err=True)
        except KeyboardInterrupt:
            click.echo("(stopped)", err=True)


def _read_line(terminal: bool) -> str | None:
    """Return the next line, None at the end of the input."""
    if terminal:
        try:
            return input(PROMPT)
        except EOFError:
            click.echo()
            return None
    line = sys.stdin.readline()
    return line.rstrip("\n") if line else None
