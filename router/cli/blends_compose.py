"""`agoge blends compose`: one blend from folders. Knows the terminal and `blends`; no policy, no engine."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import click

from blends.adapter import AdapterRefused, trained_on
from blends.folders import Receipt, make_folder, read_receipt
from blends.manifest import Part
from blends.method import Method
from blends.sources import HUB, SourceRefused, resolve
from blends.spec import Job, source_sha256
from blends.verify import CompositeBroken
from router.cli.blends_text import size
from router.cli.options import fail
from router.cli.policy import CODES


@click.command(epilog=CODES)
@click.argument("members", nargs=-1, required=True, metavar="ADAPTER=WEIGHT...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder to write; an earlier blend is replaced.",
)
@click.option("--base", help="The base model's id as engines serve it; what the adapters name when left out.")
@click.option("--method", "method_text", default="exact", show_default=True, help="A lossy one only by name.")
@click.option("--layers", type=click.IntRange(1), help="Layers of the base, for adapters trained on some of them.")
@click.option("--json", "as_data", is_flag=True, help="Print JSON for programs.")
def command(
    members: Sequence[str], out: Path, base: str | None, method_text: str, layers: int | None, as_data: bool
) -> None:
    """Compose one adapter whose update is the weighted sum of others, e.g. ./core=1.0 ./physics=0.8.

    ADAPTER is a PEFT folder, or hub:owner/name@COMMIT. The result is proved equal to the sum and can be served by
    TGI, vLLM and SGLang. A refusal names the adapter and the reason.
    """
    given = [_member(text) for text in members]
    try:
        method = Method.parse(method_text)
    except ValueError as fault:
        raise click.UsageError(f"--method: {fault}") from fault
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and read_receipt(out) is None)):
        raise click.UsageError(f"--out: {out} is there already; remove it or name a new folder")
    try:
        folders = [resolve(source, Path()) for source, _ in given]
        base = base or _base(folders)
        parts = tuple(
            Part(name, weight, source, source_sha256(folder))
            for name, (source, weight), folder in zip(_names(given, folders), given, folders, strict=True)
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        receipt = make_folder(
            out.absolute().parent,
            Job(out.absolute().name, parts, tuple(map(str, folders)), base, str(method), layers),
        )
    except (SourceRefused, AdapterRefused, CompositeBroken, OSError) as fault:
        fail(fault)
    _print(out, parts, base, str(method), receipt, as_data)


def _member(text: str) -> tuple[str, float]:
    source, equals, weight = text.rpartition("=")
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not (source and equals) or not math.isfinite(number):
        raise click.UsageError(f"{text!r}: write ADAPTER=WEIGHT with a number, such as ./core=1.0")
    return source, number


def _base(folders: Sequence[Path]) -> str:
    """Return the base that the adapters name. Where they disagree the first is taken, and `compose` refuses."""
    named = [base for folder in folders if (base := trained_on(folder))]
    if not named:
        raise click.UsageError("no adapter names its base model; say which it is with --base")
    return named[0]


def _names(given: Sequence[tuple[str, float]], folders: Sequence[Path]) -> list[str]:
    """Return a name per adapter: its folder's, or its whole source where two folders are called alike."""
    names = [
        source.removeprefix(HUB).partition("@")[0].rpartition("/")[2] if source.startswith(HUB) else folder.name
        for (source, _), folder in zip(given, folders, strict=True)
    ]
    alike = {name for name in names if len({f for n, f in zip(names, folders, strict=True) if n == name}) > 1}
    return [source if name in alike else name for name, (source, _) in zip(names, given, strict=True)]


def _print(out: Path, parts: Sequence[Part], base: str, method: str, receipt: Receipt, as_data: bool) -> None:
    if as_data:
        facts = {
            "folder": str(out),
            "members": [{"name": part.name, "weight": part.weight, "sha256": part.sha256} for part in parts],
            "base": base,
            "method": method if len(parts) > 1 else "exact",
            "rank": receipt.rank,
            "bucket": receipt.bucket,
            "modules": list(receipt.modules),
            "layers": receipt.layers,
            "bytes": receipt.bytes,
            "memory_bytes": receipt.memory_bytes,
            "error": receipt.error,
            "sha256": receipt.sha256,
        }
        click.echo(json.dumps(facts, ensure_ascii=False, indent=2))
        return
    click.echo(f"wrote {out}: {' + '.join(f'{part.name} x {part.weight:g}' for part in parts)} on {base}")
    click.echo(
        f"rank {receipt.rank}, padded to {receipt.bucket}; {', '.join(receipt.modules)} in {receipt.layers} layers"
        f"; {size(receipt.bytes)} on disk, {size(receipt.memory_bytes)} in an engine"
    )
    off = f"{receipt.error:.1e}, measured on the written file"
    exact = method == "exact" or len(parts) == 1
    click.echo(f"equal to the weighted sum up to {off}" if exact else f"{method}: off the weighted sum by {off}")
