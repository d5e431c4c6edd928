"""`agoge blends reference`: what PEFT says for each blend, for the canary. Prints; `blends.spoken` computes."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import click

from blends.base import BaseMissing
from blends.language import BaseUnusable
from blends.manifest import ManifestInvalid, ManifestMissing, read_manifest
from blends.reference import PROMPTS, write_reference
from blends.sources import SourceRefused
from blends.spoken import TOKENS, ReferenceUncomputable, speak
from router.cli.blends_text import BLENDS
from router.cli.options import fail
from router.cli.policy import CODES
from router.cli.tables import counted

PACKAGES = ("torch", "transformers", "peft")
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(epilog=CODES)
@BLENDS
@click.option(
    "--base", metavar="FOLDER|GGUF|HUB-ID", help="Where the base model lies; the carried one, or its own id."
)
@click.option("--prompt", "prompts", multiple=True, help="A text to continue, repeatable.  [default: two of ours]")
@click.option("--tokens", type=click.IntRange(1, 100), default=TOKENS, show_default=True, help="Tokens of each.")
@click.option("--sources", type=_FOLDER, help="Where relative sources start; the policy's folder at build time.")
@click.option("--hub-cache", type=_FOLDER, help="Where hub: sources are kept; HF_HUB_CACHE otherwise.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(
    folder: Path,
    base: str | None,
    prompts: tuple[str, ...],
    tokens: int,
    sources: Path | None,
    hub_cache: Path | None,
    as_json: bool,
) -> None:
    """Write reference.json beside blends.json: what PEFT's runtime sum says for every blend, in float32.

    The canary holds a live engine against it, which finds wrong scales. Compute it on the base that the engine
    serves, once per build; about two seconds a blend for the carried base.
    """
    if absent := [package for package in PACKAGES if find_spec(package) is None]:
        fail(ValueError(f"this needs {', '.join(absent)}: pip install -e '.[train]' in Agoge's folder"))

    def say(done: int, total: int, what: str) -> None:
        click.echo(f"  {done}/{total} {what}", err=True)

    try:
        manifest = read_manifest(folder)
        reference = speak(
            manifest, sources or folder / manifest.sources, base, prompts=prompts or PROMPTS, tokens=tokens,
            cache_dir=hub_cache, progress=say,
        )  # fmt: skip
        file = write_reference(folder, reference)
    except (ManifestMissing, ManifestInvalid, SourceRefused, ReferenceUncomputable) as fault:
        fail(fault)
    except (BaseMissing, BaseUnusable, OSError) as fault:
        fail(fault)
    if as_json:
        told = {"file": str(file), "blends": len(reference.blends), "computed_by": reference.computed_by}
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    click.secho(f"wrote {file}: {counted(len(reference.blends), 'blend')}, {reference.computed_by}", fg="green")
