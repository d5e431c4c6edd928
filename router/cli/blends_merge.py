"""`agoge blends merge`: one blend baked into a full model. Knows the terminal and `blends`; no engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import click

from blends.folders import intact
from blends.manifest import Entry, ManifestInvalid, ManifestMissing, read_manifest
from router.cli.blends_text import BLENDS, members
from router.cli.options import fail
from router.cli.policy import CODES

PACKAGES = ("torch", "transformers", "peft", "accelerate")


@click.command(epilog=CODES)
@click.argument("blend")
@click.option("--base", required=True, metavar="FOLDER|GGUF|HUB-ID", help="The base model that is merged into.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The new model's folder."
)
@BLENDS
@click.option(
    "--precision",
    type=click.Choice(["bfloat16", "float16", "float32"]),
    default="bfloat16",
    show_default=True,
    help="Of the written weights; the sum itself is computed in float32.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(blend: str, base: str, out: Path, folder: Path, precision: str, as_json: bool) -> None:
    """Merge BLEND into a full model, for a single fixed profile; any engine serves it without knowing of LoRA.

    BLEND is a name that `agoge blends show` lists, its beginning, or a policy's blend id. The built folder is
    merged, so the result is what that folder was proved to be.
    """
    if absent := [package for package in PACKAGES if find_spec(package) is None]:
        fail(ValueError(f"merging needs {', '.join(absent)}: pip install -e '.[train]' in Agoge's folder"))
    try:
        entry = _chosen(blend, read_manifest(folder).entries)
        if intact(folder / entry.folder) is None:
            fail(ValueError(f"{folder / entry.folder} is missing or damaged; build again: agoge blends build"))
        from blends.runtime import merge

        click.echo(f"merging {members(entry)} into {base} ...", err=True)
        merge([(entry.served, folder / entry.folder, 1.0)], base, out, precision)
    except (ManifestMissing, ManifestInvalid, ValueError, OSError) as fault:
        fail(fault)
    if as_json:
        told = {
            "out": str(out),
            "blend": entry.blend,
            "served": entry.served,
            "base": entry.base,
            "precision": precision,
        }
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    click.echo(f"wrote {out}: {entry.base} with {members(entry)} merged in, {precision}")


def _chosen(text: str, entries: Sequence[Entry]) -> Entry:
    """Return the one blend that `text` names. Raises ValueError with what there is."""
    exact = [e for e in entries if text in (e.blend, e.served, e.served.rpartition("-")[0])]
    found = exact or [entry for entry in entries if entry.blend.startswith(text) or entry.served.startswith(text)]
    if len({entry.served for entry in found}) != 1:
        listed = ", ".join(sorted(entry.served for entry in found or entries))
        raise ValueError(f"{text!r} names {'no blend' if not found else 'several'}; there are {listed}")
    return found[0]
