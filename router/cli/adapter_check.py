"""`agoge adapter check`: prints findings, leaves with 1 when one fails. `blends.checkup` measures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import click

from blends.adapter import CONFIG, WEIGHTS
from blends.base import BaseMissing
from blends.behaviour import read_texts, remembered
from blends.checkup import Finding, Limits, Subject, examine_alone, examine_beside, examine_leak
from blends.language import BaseUnusable
from blends.recipe import Recipe, RecipeInvalid, base_of, read_recipe
from router.cli.options import fail
from router.cli.policy import CODES, FAILED
from router.cli.tables import print_table

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_SHARE = click.FloatRange(0, 1)
_DEFAULT = Limits()


@click.command(epilog=CODES)
@click.argument("folder", type=_FOLDER)
@click.option("--core", type=_FOLDER, help="The core: whose leak is looked for, or another than the recipe names.")
@click.option("--base", help="Where the base model lies: a transformers folder, a GGUF file or a hub id.")
@click.option("--gain", type=_SHARE, default=_DEFAULT.gain, show_default=True,
              help="Share of the base's loss to take off its own held-out texts.")  # fmt: skip
@click.option("--kept", type=_SHARE, default=_DEFAULT.kept, show_default=True,
              help="Share of its gain that each must keep beside the other.")  # fmt: skip
@click.option("--leak", type=_SHARE, default=_DEFAULT.leak, show_default=True,
              help="Share of the core's gain that an isolated adapter may have.")  # fmt: skip
@click.option("--markers", type=_SHARE, default=_DEFAULT.markers, show_default=True,
              help="Share of answers that must hold a marker of the recipe.")  # fmt: skip
@click.option(
    "--prompts", type=click.IntRange(1), default=10, show_default=True, help="Answers to count markers in."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(
    folder: Path, core: Path | None, base: str | None, gain: float, kept: float, leak: float, markers: float,
    prompts: int, as_json: bool,
) -> None:  # fmt: skip
    """Measure the trained adapter in FOLDER on heldout.jsonl beside it.

    A domain (its recipe names a core) is also measured beside the core in the folder next to it. Any other one is
    measured for leakage when --core says whose. Intervals are 95 % bootstraps over texts.
    """
    if absent := [package for package in ("torch", "transformers", "peft", "gguf") if find_spec(package) is None]:
        fail(ValueError(f"measuring needs {', '.join(absent)}: pip install -e '.[train]' in Agoge's folder"))
    limits = Limits(gain, kept, leak, markers)
    try:
        findings = _examined(folder.resolve(), core and core.resolve(), base, limits, prompts)
    except (RecipeInvalid, BaseMissing, BaseUnusable, OSError) as fault:
        fail(fault)
    _print(findings, as_json)
    if not all(finding.passed for finding in findings):
        raise SystemExit(FAILED)


def _examined(folder: Path, core: Path | None, base: str | None, limits: Limits, prompts: int) -> list[Finding]:
    from blends.runtime import Runtime

    recipe = read_recipe(folder)
    beside = core or (folder.parent / recipe.core if recipe.core is not None else None)
    subject = _subject(folder, recipe, recipe.weight)
    other = _subject(beside, read_recipe(beside), recipe.core_weight) if beside is not None else None
    if other is not None and other.name == subject.name:
        raise RecipeInvalid(f"{folder} and {beside} have one name; an adapter cannot be measured against itself")
    runtime = Runtime.load(base_of(folder, base))
    runtime.add(subject.name, folder)
    losses = remembered(runtime.losses)
    findings = examine_alone(subject, losses, runtime.answers, limits, prompts)
    if other is not None and beside is not None:
        runtime.add(other.name, beside)
        examine = examine_beside if recipe.core is not None else examine_leak
        findings += examine(subject, other, losses, runtime.answers, limits, prompts)
    return findings


def _subject(folder: Path, recipe: Recipe, weight: float) -> Subject:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise RecipeInvalid(f"{folder} holds no {name}; train it first: agoge adapter train {folder}")
    return Subject(read_texts(folder.name, folder), weight, recipe.markers)


def _print(findings: Sequence[Finding], as_json: bool) -> None:
    passed = all(finding.passed for finding in findings)
    if as_json:
        data = {"ok": passed, "findings": [asdict(finding) for finding in findings]}
        click.echo(json.dumps(data, ensure_ascii=False, indent=2))
        return
    rows = [
        (
            "ok" if finding.passed else "FAILS",
            finding.what,
            f"{finding.value:.0%}",
            "" if finding.low is None or finding.high is None else f"{finding.low:.0%} to {finding.high:.0%}",
            f"{finding.limit:.0%}",
            finding.said,
        )
        for finding in findings
    ]
    print_table(("", "what", "value", "95 %", "limit", "measured"), rows)
    bad = sum(not finding.passed for finding in findings)
    click.secho("all is well" if passed else f"{bad} of {len(findings)} fail", fg="green" if passed else "red")
