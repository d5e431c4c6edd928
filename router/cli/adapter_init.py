"""`agoge adapter init`: a folder to start from. Prints; what is in it, `blends.kit` says."""

from __future__ import annotations

import json
from pathlib import Path

import click

from blends.base import BASE_ID
from blends.kit import KINDS, FolderTaken, create
from router.cli.options import fail
from router.cli.policy import CODES


@click.command(epilog=CODES)
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--base", default=BASE_ID, show_default=True, help="What the policy calls the base model.")
@click.option(
    "--core", default="core", show_default=True, help="Domains: the folder beside this one with the core."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(kind: str, folder: Path, base: str, core: str, as_json: bool) -> None:
    """Write FOLDER for an adapter of KIND: core, domain or isolated.

    README.md and README.ru.md say what goes in and what does not; texts.jsonl and heldout.jsonl hold template
    rows in English and Russian to replace; recipe.toml explains every setting.
    """
    try:
        files = create(kind, folder, base, core)
    except (FolderTaken, ValueError, OSError) as fault:
        fail(fault)
    if as_json:
        click.echo(json.dumps({"files": [str(file) for file in files]}, ensure_ascii=False, indent=2))
        return
    for file in files:
        click.echo(f"wrote {file}")
    more = " --core CORE" if kind == "isolated" else ""
    click.echo(
        f"Next: read {folder / 'README.md'}, replace the rows of texts.jsonl and heldout.jsonl, then "
        f"agoge adapter train {folder}; agoge adapter check {folder}{more}"
    )
