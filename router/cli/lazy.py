"""A command group whose verbs are imported when they are called. Knows module names, no verb."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

INTERRUPTED = 130  # 128 + SIGINT


class LazyGroup(click.Group):
    """A group that imports a verb's module only when that verb is called.

    `verbs`: verb -> (module that holds a click command called `command`, one-line help). Verbs that were added as
    commands come first.
    """

    def __init__(self, *args: Any, verbs: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(*args, **options)
        self.verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *self.verbs]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete verbs without importing them: a TAB must not wait for what it does not run."""
        if not incomplete or incomplete[0].isalnum():
            helps = {name: command.get_short_help_str() for name, command in self.commands.items()}
            helps |= {name: text for name, (_, text) in self.verbs.items()}
            return [CompletionItem(name, help=helps[name]) for name in helps if name.startswith(incomplete)]
        return click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; Ctrl-C leaves with the code that shells give it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nagoge: interrupted", err=True)
            ctx.exit(INTERRUPTED)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.verbs:
            return super().get_command(ctx, cmd_name)
        command = importlib.import_module(self.verbs[cmd_name][0]).command
        assert isinstance(command, click.Command), cmd_name  # noqa: S101 - a programming error, not user input
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            limit = formatter.width - 6 - max(map(len, self.list_commands(ctx)))  # as click does
            here = [(verb, command.get_short_help_str(limit)) for verb, command in self.commands.items()]
            formatter.write_dl([*here, *((verb, text) for verb, (_, text) in self.verbs.items())])
