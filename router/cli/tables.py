"""What every command prints alike: counts and tables. Knows no command and nothing of what is in them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence


def counted(number: int, thing: str) -> str:
    """Return `1 blend`, `2 blends`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table that fits the terminal, and one of 160 columns into a pipe, which has no width."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160).print(table)
