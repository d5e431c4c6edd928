"""Built blends in words and tables. Reads nothing and decides nothing."""

from __future__ import annotations

from pathlib import Path

import click

from blends.manifest import Entry

DEFAULT = Path(".agoge/blends")
BLENDS = click.option(
    "--blends",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT,
    show_default=True,
    help="The folder that `agoge blends build` wrote.",
)
"""Where a verb finds what was built."""


def size(count: int) -> str:
    """Return a number of bytes for a person: `3.4 MB`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def members(entry: Entry) -> str:
    """Return who speaks: `core x 1 + physics x 0.8`."""
    return " + ".join(f"{part.name} x {part.weight:g}" for part in entry.members)
