"""`agoge blends show`: what was built, as a table or as data."""

from __future__ import annotations

import json
from pathlib import Path

import click

from blends.manifest import ManifestInvalid, ManifestMissing, as_data, read_manifest
from router.cli.blends_text import BLENDS, members, size
from router.cli.options import fail
from router.cli.policy import CODES
from router.cli.tables import counted, print_table


@click.command(epilog=CODES)
@BLENDS
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(folder: Path, as_json: bool) -> None:
    """List what was built: each blend's name in engines, members, rank, method, measured error and sizes."""
    try:
        manifest = read_manifest(folder)
    except (ManifestMissing, ManifestInvalid) as fault:
        fail(fault)
    if as_json:
        content = {"sources": manifest.sources, "blends": [as_data(entry) for entry in manifest.entries]}
        click.echo(json.dumps(content, ensure_ascii=False, indent=2))
        return
    rows = [
        (
            entry.served,
            members(entry) + (", alone" if entry.alone else ""),
            str(entry.bucket) if entry.rank == entry.bucket else f"{entry.rank} in {entry.bucket}",
            entry.method,
            f"{entry.error:.1e}",
            "" if entry.conflict is None else f"{entry.conflict:.0%}",
            size(entry.bytes),
            size(entry.memory_bytes),
        )
        for entry in manifest.entries
    ]
    print_table(
        ("name in engines", "members", "rank", "method", "error", "conflict", "on disk", "in memory"), rows
    )
    click.echo(f"{counted(len(rows), 'blend')} on {', '.join(manifest.bases)}")
