"""`agoge adapter train`: shows progress. Knows the terminal and `blends`; knows no policy and no engine."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import click

from blends.adapter import WEIGHTS
from blends.base import BaseMissing
from blends.language import BaseUnusable, Speaker
from blends.recipe import RECIPE, RecipeInvalid, base_of, list_recipes, read_recipe, read_rows
from router.cli.options import fail
from router.cli.policy import CODES

RECIPES = Path("policies/adapters")
Progress = Callable[[int, int, float], None]
"""Called after each step with (step, steps, loss)."""


@click.command(
    epilog=f"{CODES} An adapter is replaced when its training is done; an interrupted run changes nothing."
)
@click.argument("adapter", required=False)
@click.option("--all", "everything", is_flag=True, help="Train every recipe, the core before its domains.")
@click.option(
    "--recipes",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=f"Folder of NAME/recipe.toml and NAME/texts.jsonl, for a NAME or --all.  [default: {RECIPES}]",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that receives NAME/ with the adapter's two files. A FOLDER receives its own by default.",
)
@click.option("--base", help="Where the base model lies: a transformers folder, a GGUF file or a hub id.")
@click.option("--seed", type=int, help="Replace the recipe's seed.")
@click.option("--steps", type=click.IntRange(1), help="Replace the recipe's steps.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(
    adapter: str | None, everything: bool, recipes: Path | None, out: Path | None, base: str | None,
    seed: int | None, steps: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Train ADAPTER, a FOLDER with recipe.toml and texts.jsonl or a NAME under --recipes; or all of them.

    The base stays frozen. A domain is trained beside its core, frozen too and active in every second step. On two
    free cores the carried base takes a few seconds a step, so three to thirty minutes an adapter.
    """
    try:
        root, names, place = _chosen(adapter, everything, recipes, out)
        for name in names:  # before anything heavy is loaded
            read_rows(root / name, composed=read_recipe(root / name).core is not None)
            base_of(root / name, base)
        _train(root, names, place, base, seed, steps)
    except (RecipeInvalid, BaseMissing, BaseUnusable) as fault:
        fail(fault)
    if as_json:
        click.echo(json.dumps({"adapters": [str(place / name) for name in names]}, ensure_ascii=False, indent=2))


def _chosen(
    adapter: str | None, everything: bool, recipes: Path | None, out: Path | None
) -> tuple[Path, list[str], Path]:
    """Return the folder of recipes, the names to train in order, and the folder that receives them."""
    if adapter is not None and recipes is None and not everything and (Path(adapter) / RECIPE).is_file():
        folder = Path(adapter).resolve()
        return folder.parent, [folder.name], out or folder.parent
    recipes = recipes or RECIPES
    known = list_recipes(recipes)
    if everything == (adapter is not None):
        raise click.UsageError(f"give one FOLDER or NAME, or --all; the recipes are {', '.join(known)}")
    if adapter is not None and adapter not in known:
        raise click.UsageError(
            f"there is no recipe {adapter!r} under {recipes}; there are {', '.join(known)}. A folder of your own "
            f"holds {RECIPE}: agoge adapter init core FOLDER"
        )
    if out is None:
        raise click.UsageError("say where the adapters go: --out FOLDER")
    return recipes, known if adapter is None else [adapter], out


def _train(
    root: Path, names: list[str], out: Path, where: str | None, seed: int | None, steps: int | None
) -> None:  # fmt: skip
    from blends.language import load_base
    from blends.train import CoreMissing, train

    if absent := [package for package in ("torch", "transformers", "peft", "gguf") if find_spec(package) is None]:
        fail(ValueError(f"training needs {', '.join(absent)}: pip install -e '.[train]' in Agoge's folder"))
    bases: dict[tuple[str | None, str], Speaker] = {}  # loading takes 20 s: once per base, not once per adapter
    with _progress() as begin:
        for name in names:
            recipe = read_recipe(root / name)
            step = begin(name, steps or recipe.steps)
            key = base_of(root / name, where), recipe.precision
            if key not in bases:
                bases[key] = load_base(*key)
            core = _find_core(recipe.core, out, root)
            try:
                train(root / name, out / name, bases[key], seed=seed, core=core, steps=steps, progress=step)
            except CoreMissing as fault:
                fail(ValueError(f"{fault}. Train it first: agoge adapter train {core}"))
            click.echo(f"wrote {out / name}", err=True)


@contextmanager
def _progress() -> Iterator[Callable[[str, int], Progress]]:
    """Yield what begins an adapter's progress: a bar on a terminal, a line every ten steps elsewhere."""
    if not sys.stderr.isatty():

        def lines(name: str, total: int) -> Progress:
            click.echo(f"{name}: loading the base", err=True)

            def line(step: int, steps: int, loss: float) -> None:
                if step in (1, steps) or step % 10 == 0:
                    click.echo(f"{name}: step {step} of {steps}, loss {loss:.3f}", err=True)

            return line

        yield lines
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:

        def bars(name: str, total: int) -> Progress:
            task = bar.add_task(f"{name}: loading the base", total=total)
            return lambda step, steps, loss: bar.update(
                task, completed=step, total=steps, description=f"{name}: loss {loss:.3f}"
            )

        yield bars


def _find_core(core: str | None, out: Path, recipes: Path) -> Path | None:
    """The core trained in this run or before, else the one that lies beside the recipes."""
    if core is None:
        return None
    fresh = out / core
    return fresh if (fresh / WEIGHTS).is_file() else recipes / core
