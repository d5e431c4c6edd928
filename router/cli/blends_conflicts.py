"""`agoge blends conflicts`: who gets in whose way. Prints; what a conflict is, `blends.conflicts` says."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from blends.adapter import AdapterRefused
from blends.base import BaseMissing
from blends.behaviour import Kept
from blends.conflicts import Meter, Pair, disagreements, pairs_of, share, with_voices
from blends.language import BaseUnusable
from blends.recipe import RecipeInvalid
from blends.sources import SourceRefused
from router.cli.options import fail
from router.cli.policy import CODES, load
from router.cli.tables import counted, print_table
from router.wiring.blends import specs_of


@click.command(
    epilog=f"{CODES} What a policy's gate refuses, `agoge blends build` refuses; a report refuses nothing."
)
@click.argument("policy", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.option("--png", type=click.Path(path_type=Path, dir_okay=False), help="Draw a heat map into this file.")
@click.option("--base", help="Where the base model lies: a transformers folder, a GGUF file or a hub id.")
@click.option("--no-behaviour", is_flag=True, help="Geometry only: seconds, and no base model is loaded.")
@click.option("--hub-cache", type=click.Path(path_type=Path, file_okay=False), help="Where hub: sources are kept.")
def command(
    policy: Path | None,
    as_json: bool,
    png: Path | None,
    base: str | None,
    no_behaviour: bool,
    hub_cache: Path | None,
) -> None:
    """Measure every pair of adapters that a blend of POLICY holds (policies/default.yaml when left out).

    Behaviour is the loss on each adapter's held-out texts (heldout.jsonl beside it), alone and together; it needs
    the extra [train] and takes about a minute a pair on two cores. Geometry compares the updates themselves.
    """
    if png is not None and find_spec("matplotlib") is None:
        fail(ValueError("--png needs matplotlib: pip install -e '.[report]' in Agoge's folder"))
    path, policies = load(policy, as_json)
    say = _silent if as_json else lambda what: click.echo(f"  {what}", err=True)
    meter = Meter(path.parent, base, hub_cache, say)
    try:
        wanted = pairs_of(specs_of(policies))
        pairs = with_voices([meter.pair(members, of, behave=not no_behaviour) for members, of in wanted])
        if png is not None:
            from blends.heatmap import draw

            draw(pairs, png)
    except (AdapterRefused, BaseMissing, BaseUnusable, RecipeInvalid, SourceRefused, ValueError, OSError) as fault:
        fail(fault)
    if as_json:
        click.echo(json.dumps(as_data(pairs), ensure_ascii=False, indent=2))
        return
    _print(pairs, str(path))
    if png is not None:
        click.echo(f"wrote {png}")


def _silent(what: str) -> None:
    """A program reads the output: nothing is said."""


def _print(pairs: Sequence[Pair], policy: str) -> None:
    if not pairs:
        click.echo(f"{policy}: no blend has two members, so nothing can be in anybody's way")
        return
    headings = (
        "pair",
        "gain alone",
        "together",
        "keeps",
        "95 %",
        "conflict",
        "cosine",
        "overlap",
        "by chance",
        "norms",
    )
    print_table(headings, [row for pair in pairs for row in _rows(pair)])
    for pair in pairs:
        click.echo(f"{pair.name}: {pair.verdict}")
    found = list(disagreements(pairs))
    if found:
        click.echo("\nWhere geometry misleads:")
        for line in found:
            click.echo(f"- {line}")
    elif any(pair.behaviour for pair in pairs):
        click.echo(f"\nGeometry and behaviour put the {counted(len(pairs), 'pair')} in no contradictory order.")


def _rows(pair: Pair) -> list[tuple[str, ...]]:
    """One line per member; the pair's own figures stand on the first."""
    geometry = pair.geometry
    shape = (
        f"{geometry.cosine:+.3f}",
        f"{geometry.overlap:.3f}",
        f"{geometry.chance:.3f}",
        f"{geometry.norms[0]:.1f} {geometry.norms[1]:.1f}",
    )
    if pair.behaviour is None:
        return [(pair.name, "-", "-", "-", "-", "-", *shape)]
    worst = f"{pair.behaviour.worst:.2f}"
    rows: list[tuple[str, ...]] = []
    for index, member in enumerate(pair.behaviour.members):
        kept = "-" if member.kept is None else share(member.kept)
        interval = "-" if member.kept is None else f"{share(member.low)} to {share(member.high)}"
        label = f"{pair.name}: {member.name}"
        alone, together = member.base_alone - member.alone, member.base_together - member.together
        rows.append(
            (
                label,
                f"{alone:.2f}",
                f"{together:.2f}",
                kept,
                interval,
                *((worst, *shape) if index == 0 else ("",) * 5),
            )
        )
    return rows


def as_data(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return the report for programs; shares are fractions, losses nats a token."""
    return {"pairs": [_pair(pair) for pair in pairs], "disagreements": list(disagreements(pairs))}


def _pair(pair: Pair) -> dict[str, Any]:
    geometry = pair.geometry
    return {
        "pair": pair.name,
        "base": pair.base,
        "members": [{"name": name, "weight": weight, "source": source} for name, weight, source in pair.members],
        "conflict": None if pair.behaviour is None else round(pair.behaviour.worst, 4),
        "verdict": pair.verdict,
        "behaviour": None if pair.behaviour is None else [_member(member) for member in pair.behaviour.members],
        "unmeasured": pair.unmeasured,
        "geometry": {
            "cosine": _round(geometry.cosine),
            "overlap": _round(geometry.overlap),
            "chance": _round(geometry.chance),
            "norms": [_round(norm) for norm in geometry.norms],
            "modules_of_one_only": geometry.apart,
            "modules": [
                {
                    "layer": each.layer,
                    "module": f"{each.block}.{each.module}",
                    "relative_norm": _round(each.ratio),
                    "cosine": _round(each.cosine),
                    "columns": _round(each.columns),
                    "rows": _round(each.rows),
                    "chance": _round(each.chance),
                }
                for each in geometry.modules
            ],
        },
    }


def _member(member: Kept) -> dict[str, Any]:
    shares: dict[str, Callable[[], float]] = {"kept": lambda: member.kept or 0.0, "low": lambda: member.low,
                                              "high": lambda: member.high}  # fmt: skip
    return {
        "name": member.name,
        "beside": list(member.others),
        **{name: None if member.kept is None else _round(found()) for name, found in shares.items()},
        "loss": {
            "base_alone": _round(member.base_alone),
            "alone": _round(member.alone),
            "base_together": _round(member.base_together),
            "together": _round(member.together),
        },
        "texts": member.texts,
    }


def _round(value: float) -> float:
    return round(value, 5)
