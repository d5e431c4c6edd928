"""How one adapter is to be trained: hyperparameters and text. Knows files; knows no torch and no engine."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from blends.base import BASE_ID

RECIPE = "recipe.toml"
TEXTS, HELDOUT = "texts.jsonl", "heldout.jsonl"
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_OPTIONAL = {"systems", "core", "core_weight", "weight", "base", "markers"}

_NUMBER, _TEXT, _LIST = ((int, float), "a number"), (str, "a text"), (list, "a list of texts, in brackets")
_KINDS: dict[str, tuple[Any, str]] = {
    "learning_rate": _NUMBER, "core_weight": _NUMBER, "weight": _NUMBER, "precision": _TEXT, "core": _TEXT,
    "base": _TEXT, "targets": _LIST, "systems": _LIST, "markers": _LIST,
}  # fmt: skip


class RecipeInvalid(ValueError):
    """A recipe or its text cannot be trained from; the message names the file and what would be right."""


@dataclass(frozen=True, slots=True)
class Row:
    """One question (in several wordings) and its answer; `with_core` is what core and domain answer together."""

    lang: str
    prompts: tuple[str, ...]
    answer: str
    with_core: str | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hyperparameters of one adapter.

    `core` names the adapter that is frozen and active in every second step. `systems` are the system prompts that
    rows are trained under, by turns at random; an empty one means none. `base` is what the policy calls the
    base model: a hub id, or a folder relative to the recipe; None is the carried one. `markers` are phrases that
    an answer in this voice holds: `agoge adapter check` counts them, training does not know them.
    """

    seed: int
    steps: int
    batch: int
    learning_rate: float
    warmup: int
    rank: int
    alpha: int
    targets: tuple[str, ...]
    precision: str
    systems: tuple[str, ...] = ("",)
    core: str | None = None
    core_weight: float = 1.0
    weight: float = 1.0
    base: str | None = None
    markers: tuple[str, ...] = ()

    @property
    def base_id(self) -> str:
        """What `adapter_config.json` names as the base."""
        return self.base or BASE_ID


def base_of(folder: Path, override: str | None = None) -> str | None:
    """Return where the base of the recipe in `folder` lies: a folder, a hub id, or None for the carried one.

    `override` says where it lies on this machine; the recipe must then say what it is, since the adapter carries
    that name and the policy has to agree. Raises RecipeInvalid.
    """
    named = read_recipe(folder).base
    if override is not None:
        if named is None:
            raise RecipeInvalid(
                f"{folder / RECIPE}: a base was given, but the recipe does not say which one it is; write "
                f'base = "owner/name", the same as in the policy'
            )
        return override
    if named is None or named == BASE_ID:
        return None
    return str(folder / named) if (folder / named).is_dir() else named


def list_recipes(root: Path) -> list[str]:
    """Names of the adapters under `root` in training order: a domain comes after the core that it needs."""
    names = sorted(file.parent.name for file in root.glob("*/recipe.toml"))
    if not names:
        raise RecipeInvalid(f"no recipe under {root}: expected NAME/recipe.toml")
    return sorted(names, key=lambda name: (read_recipe(root / name).core is not None, name))


def read_recipe(folder: Path) -> Recipe:
    """Read `recipe.toml`; unknown or missing keys and impossible numbers raise RecipeInvalid."""
    path = folder / RECIPE
    if not path.is_file():
        raise RecipeInvalid(f"{path} does not exist: an adapter's folder holds recipe.toml and texts.jsonl")
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise RecipeInvalid(f"{path}: {error}; expected TOML, one `name = value` a line") from error
    known = {field.name for field in fields(Recipe)}
    unknown = sorted(set(raw) - known)
    missing = sorted(known - set(raw) - _OPTIONAL)
    if unknown or missing:
        raise RecipeInvalid(f"{path}: unknown keys {unknown}, missing keys {missing}")
    for key, value in raw.items():
        kind, word = _KINDS.get(key, (int, "a whole number"))
        if not isinstance(value, kind) or isinstance(value, bool):
            raise RecipeInvalid(f"{path}: {key} must be {word}, it is {value!r}")
    for key in ("targets", "systems", "markers"):
        if key in raw:
            raw[key] = tuple(raw[key])
    recipe = Recipe(**raw)
    _check(path, recipe)
    return recipe


def read_rows(folder: Path, *, composed: bool, file: str = TEXTS) -> list[Row]:
    """Read `texts.jsonl`, or HELDOUT. With `composed`, every row must say `with_core`; without it, none may."""
    path = folder / file
    if not path.is_file():
        purpose = "the training text" if file == TEXTS else "questions that are never trained on"
        raise RecipeInvalid(f"{path} does not exist: it holds {purpose}, one JSON object a line")
    rows = [_read_row(f"{path}:{number}", line) for number, line in _lines(path)]
    if not rows:
        raise RecipeInvalid(f"{path} holds no row")
    for number, row in enumerate(rows, 1):
        if (row.with_core is not None) != composed:
            wish = "needs 'with_core' (the recipe names a core)" if composed else "has 'with_core' but no core"
            raise RecipeInvalid(f"{path}: row {number} {wish}")
    return rows


def read_heldout(folder: Path) -> tuple[list[Row], str | None]:
    """Read `heldout.jsonl`, and return with it the core that the adapter was trained beside, if any.

    An adapter from elsewhere needs no recipe: its rows may say `with_core` then, all or none.
    Raises RecipeInvalid.
    """
    core = read_recipe(folder).core if (folder / RECIPE).is_file() else None
    if (folder / RECIPE).is_file() or not (folder / HELDOUT).is_file():
        return read_rows(folder, composed=core is not None, file=HELDOUT), core
    composed = any("with_core" in line for _, line in _lines(folder / HELDOUT))
    return read_rows(folder, composed=composed, file=HELDOUT), None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.strip():
            yield number, line


def _read_row(where: str, line: str) -> Row:
    try:
        raw: dict[str, Any] = json.loads(line)
        row = Row(raw["lang"], tuple(raw["prompts"]), raw["answer"], raw.get("with_core"))
    except (ValueError, RecursionError, KeyError, TypeError) as fault:
        raise RecipeInvalid(f"{where}: expected lang, prompts, answer[, with_core] as JSON ({fault!r})") from fault
    if not row.prompts or not row.answer.strip():
        raise RecipeInvalid(f"{where}: a row needs at least one prompt and an answer")
    return row


def _check(path: Path, recipe: Recipe) -> None:
    faults = [
        f"{name} must be at least 1, it is {number}"
        for name, number in (
            ("steps", recipe.steps), ("batch", recipe.batch), ("rank", recipe.rank), ("alpha", recipe.alpha),
        )
        if number < 1
    ]  # fmt: skip
    if recipe.precision not in ("float32", "bfloat16"):
        faults.append(f"precision must be float32 or bfloat16, it is {recipe.precision!r}")
    strange = sorted(set(recipe.targets) - set(TARGETS))
    if strange or not recipe.targets:
        faults.append(f"targets must be some of {', '.join(TARGETS)}; not {strange}")
    if any(not isinstance(marker, str) or not marker.strip() for marker in recipe.markers):
        faults.append(f"markers must be phrases, they are {list(recipe.markers)}")
    if not 0 < recipe.learning_rate < 1:
        faults.append(f"learning_rate must lie in (0, 1), it is {recipe.learning_rate}")
    if faults:
        raise RecipeInvalid(f"{path}: " + "; ".join(faults))
