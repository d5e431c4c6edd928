"""`agoge blends publish`: what an engine needs to serve what was built. `blends.publish` knows the engines."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from blends import publish
from blends.adapter import AdapterRefused
from blends.base import BaseMissing, BaseUnreadable, locate_base
from blends.manifest import Entry, ManifestInvalid, ManifestMissing, read_manifest
from blends.publish import Launch, Unpublishable
from blends.sources import SourceRefused
from router.cli.blends_text import BLENDS
from router.cli.options import fail
from router.cli.policy import CODES

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FORMATS: dict[str, Callable[[Launch], str]] = {
    "args": lambda launch: launch.line(),
    "env": lambda launch: "\n".join(f"{name}={value}" for name, value in launch.environment.items()),
    "json": lambda launch: json.dumps(
        {"command": list(launch.command), "environment": dict(launch.environment), "notes": list(launch.notes)},
        indent=2,
    ),
}


@click.command(epilog=CODES)
@click.option("--engine", type=click.Choice(["tgi", "vllm", "sglang", "llamacpp"]), required=True)
@BLENDS
@click.option("--root", help="The same folder as the engine sees it, such as /adapters in a container.")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_FORMATS)),
    help="args: one line for a shell; env: NAME=VALUE lines; json: both. TGI: env, the others: args.",
)
@click.option("--base", help="Which base model, when blends of several were built.")
@click.option("--slots", type=click.IntRange(1), help="Adapters side by side in one batch (vLLM, SGLang).")
@click.option(
    "--out", type=_FOLDER, help="llamacpp: where the GGUF files go; DIR/gguf beside the blends otherwise."
)
@click.option(
    "--base-gguf",
    type=click.Path(path_type=Path, dir_okay=False),
    help="llamacpp: the base's file; the carried one otherwise.",
)
@click.option("--load", "url", metavar="URL", help="vllm, sglang: load over HTTP what the running engine lacks.")
@click.option("--unload", is_flag=True, help="With --load: unload built blends that the manifest names no more.")
@click.option("--api-key-env", metavar="NAME", help="With --load: the variable that holds the engine's key.")
@click.option("--hub-cache", type=_FOLDER, help="llamacpp: where hub: sources are kept; HF_HUB_CACHE otherwise.")
def command(
    engine: str,
    folder: Path,
    root: str | None,
    form: str | None,
    base: str | None,
    slots: int | None,
    out: Path | None,
    base_gguf: Path | None,
    url: str | None,
    unload: bool,
    api_key_env: str | None,
    hub_cache: Path | None,
) -> None:
    """Print how ENGINE is launched with what `agoge blends build` wrote, or load it into a running one.

    tgi, vllm and sglang serve the built blends, each under its content-addressed name; llama.cpp adds single
    adapters up per request, so they are converted to GGUF instead. Remarks go to standard error.
    """
    if slots is not None and engine not in ("vllm", "sglang"):
        raise click.UsageError(f"--slots is for vllm and sglang, not for {engine}")
    if engine != "llamacpp" and (out is not None or base_gguf is not None):
        raise click.UsageError(f"--out and --base-gguf are for llamacpp; {engine} serves the folders as they are")
    if url is not None and engine not in ("vllm", "sglang"):
        raise click.UsageError(f"--load is for vllm and sglang; {engine} learns its adapters at the start only")
    if url is None and (unload or api_key_env):
        raise click.UsageError("--unload and --api-key-env go with --load URL")
    try:
        manifest = read_manifest(folder)
        entries = publish.entries_of(manifest, base)
        if url is not None:
            from router.cli.blends_load import load

            wanted = publish.paths(entries, root or str(folder.resolve()))
            raise SystemExit(load(engine, url, wanted, unload=unload, api_key_env=api_key_env))
        if engine == "llamacpp":
            files = out or folder / "gguf"
            model = base_gguf or locate_base()
            names = publish.export_gguf(entries, folder / manifest.sources, model, files, hub_cache)
            launch = publish.llamacpp(names, root or str(files.resolve()), str(model))
        else:
            launch = _launch(engine, entries, root or str(folder.resolve()), slots)
    except (ManifestMissing, ManifestInvalid, Unpublishable, SourceRefused, AdapterRefused) as fault:
        fail(fault)
    except (BaseMissing, BaseUnreadable, OSError) as fault:
        fail(fault)
    click.echo(_FORMATS[form or ("env" if engine == "tgi" else "args")](launch))
    if form != "json":
        for note in (*launch.notes, *_beside(engine, form, launch)):
            click.echo(f"# {note}", err=True)


def _launch(engine: str, entries: Sequence[Entry], root: str, slots: int | None) -> Launch:
    if engine == "tgi":
        return publish.tgi(entries, root)
    if engine == "vllm":
        return publish.vllm(entries, root, slots)
    return publish.sglang(entries, root, slots)


def _beside(engine: str, form: str | None, launch: Launch) -> Sequence[str]:
    """Return what the chosen form leaves out: with the environment alone, the command."""
    if form == "env" or (form is None and engine == "tgi"):
        return (f"launch: {shlex.join(launch.command)}",)
    return ()
