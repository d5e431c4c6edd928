"""`agoge adapter`: train the demo adapters. Knows the terminal and `blends`; knows no policy and no engine."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from blends.base import BaseMissing, locate_base
from blends.recipe import RecipeInvalid, list_recipes, read_recipe


@click.group()
def command() -> None:
    """Train the small demo LoRA adapters."""


@command.command()
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Train every recipe, the core before its domains.")
@click.option(
    "--recipes",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("policies/adapters"),
    show_default=True,
    help="Folder of NAME/recipe.toml and NAME/texts.jsonl.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder that receives NAME/adapter_config.json and NAME/adapter_model.safetensors.",
)
@click.option("--seed", type=int, default=None, help="Replace the recipe's seed.")
def train(name: str | None, everything: bool, recipes: Path, out: Path, seed: int | None) -> None:
    """Train the adapter NAME, or all of them (three to ten minutes each on two free cores)."""
    try:
        known = list_recipes(recipes)
        if everything == (name is not None):
            raise click.UsageError(f"give one NAME or --all; the recipes are {', '.join(known)}")
        if name is not None and name not in known:
            raise click.UsageError(f"there is no recipe {name!r} under {recipes}; there are {', '.join(known)}")
        base = locate_base()
        _train(known if name is None else [name], recipes, out, base, seed)
    except (RecipeInvalid, BaseMissing) as fault:
        raise click.ClickException(str(fault)) from fault


def _train(names: list[str], recipes: Path, out: Path, base: Path, seed: int | None) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from blends.language import load_base
    from blends.train import CoreMissing, train

    absent = [package for package in ("torch", "transformers", "peft", "gguf") if find_spec(package) is None]
    if absent:
        raise click.ClickException(
            f"training needs {', '.join(absent)}: pip install -e '.[train]' in Agoge's folder"
        )
    console = Console(stderr=True)
    plans = [(name, read_recipe(recipes / name)) for name in names]
    bases: dict[str, tuple[Any, Any]] = {}  # loading takes 20 s: once per precision, not once per adapter
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        for name, recipe in plans:
            task = bar.add_task(f"{name}: loading the base", total=recipe.steps)
            if recipe.precision not in bases:
                bases[recipe.precision] = load_base(base, recipe.precision)

            def show(step: int, steps: int, loss: float, name: str = name, task: TaskID = task) -> None:
                bar.update(task, completed=step, total=steps, description=f"{name}: loss {loss:.3f}")

            core, loaded = _find_core(recipe.core, out, recipes), bases[recipe.precision]
            try:
                train(recipes / name, out / name, loaded, seed=seed, core=core, progress=show)
            except CoreMissing as fault:
                raise click.ClickException(
                    f"{fault}. Train it first: agoge adapter train {recipe.core}"
                ) from fault
    for name in names:
        console.print(f"wrote {out / name}")


def _find_core(core: str | None, out: Path, recipes: Path) -> Path | None:
    """The core trained in this run or before, else the one that lies beside the recipes."""
    if core is None:
        return None
    fresh = out / core
    return fresh if (fresh / "adapter_model.safetensors").is_file() else recipes / core
