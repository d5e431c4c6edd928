"""`agoge completion SHELL`: what makes a shell complete `agoge`. Knows no verb; click makes the script."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
PLACES = """\
bash: agoge completion bash > ~/.local/share/bash-completion/completions/agoge
zsh:  agoge completion zsh > a file _agoge in a folder of $fpath
fish: agoge completion fish > ~/.config/fish/completions/agoge.fish
"""


@click.command(epilog="\b\n" + PLACES)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script with which SHELL completes `agoge`; a new shell reads it where its kind looks for it."""
    root = context.find_root().command
    # ShellComplete's own method: bash's also starts a bash to learn its version, which this machine may not have.
    click.echo(ShellComplete.source(SHELLS[shell](root, {}, "agoge", "_AGOGE_COMPLETE")))
