"""The conflict report as one picture. Knows matplotlib; computes nothing.

Left of the top row: who keeps how much of its gain beside whom. Below, one row per pair: cosine, overlap and
relative norm for every layer and module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blends.conflicts import Pair
from blends.geometry import ModulePair

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
DPI = 130


def draw(pairs: Sequence[Pair], out: Path) -> Path:
    """Write the report of `pairs` as a PNG; raises ValueError when there is none."""
    import matplotlib

    matplotlib.use("Agg")  # a file, no window
    from matplotlib import pyplot

    if not pairs:
        raise ValueError("there is no pair to draw: every blend of the policy has one member")
    names = sorted({member[0] for pair in pairs for member in pair.members}, key=_core_first(pairs))
    top = 1.2 + 0.55 * len(names)
    heights = [top] + [2.1] * len(pairs)
    figure = pyplot.figure(figsize=(13, sum(heights) + 0.6), layout="constrained")
    grid = figure.add_gridspec(len(heights), 3, height_ratios=heights)
    _kept(figure.add_subplot(grid[0, 0]), pairs, names)
    _sentences(figure.add_subplot(grid[0, 1:]), pairs)
    widest = max((abs(each.cosine) for pair in pairs for each in pair.geometry.modules), default=1.0)
    fullest = max((each.overlap for pair in pairs for each in pair.geometry.modules), default=1.0)
    for row, pair in enumerate(pairs, 1):
        one, two = (member[0] for member in pair.members)
        panels: tuple[tuple[str, Callable[[ModulePair], float], str, float, float], ...] = (
            (f"{pair.name}: cosine of the updates", lambda each: each.cosine, "RdBu", -widest, widest),
            ("overlap of what they read and write", lambda each: each.overlap, "viridis", 0, fullest),
            (f"log2 of norm {two} / {one}", lambda each: float(np.log2(each.ratio)), "PuOr", -3, 3),
        )
        for column, (title, value, colours, low, high) in enumerate(panels):
            axes = figure.add_subplot(grid[row, column])
            image = _panel(axes, pair, value, colours, (low, high))
            axes.set_title(title, fontsize=10, loc="left")
            figure.colorbar(image, ax=axes, shrink=0.9, pad=0.02)
    figure.savefig(out, dpi=DPI, format="png")
    pyplot.close(figure)
    return out


def _core_first(pairs: Sequence[Pair]) -> Callable[[str], tuple[bool, str]]:
    cores = {member.core for pair in pairs if pair.behaviour for member in pair.behaviour.members}
    return lambda name: (name not in cores, name)


def _kept(axes: Any, pairs: Sequence[Pair], names: Sequence[str]) -> None:
    """A square: the row's adapter keeps so much beside the column's."""
    found = np.full((len(names), len(names)), np.nan)
    for pair in pairs:
        for member in pair.behaviour.members if pair.behaviour else ():
            share = 0.0 if member.kept is None else member.kept
            found[names.index(member.name), names.index(member.others[0])] = share
    axes.imshow(np.clip(found, 0, 1), cmap="RdYlGn", vmin=0, vmax=1, alpha=0.75, aspect="auto")
    for row in range(len(names)):
        for column in range(len(names)):
            share = found[row, column]
            text = "" if row == column else "-" if np.isnan(share) else ">200%" if share > 2 else f"{share:.0%}"
            axes.text(column, row, text, ha="center", va="center", fontsize=11)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_title("row keeps this share of its gain beside column", fontsize=10, loc="left")
    axes.tick_params(length=0)


def _sentences(axes: Any, pairs: Sequence[Pair]) -> None:
    axes.axis("off")
    lines = [f"{pair.name}: {pair.verdict}" for pair in pairs]
    axes.text(0.0, 0.95, "\n\n".join(lines), ha="left", va="top", fontsize=10, transform=axes.transAxes, wrap=True)


def _panel(
    axes: Any, pair: Pair, value: Callable[[ModulePair], float], colours: str, limits: tuple[float, float]
) -> Any:
    """Modules down, layers across; grey where only one adapter, or none, changes the module."""
    import matplotlib

    found = pair.geometry.modules
    modules = sorted({each.module for each in found}, key=lambda name: (name not in MODULES, _place(name), name))
    layers = 1 + max((each.layer for each in found), default=0)
    cells = np.full((max(1, len(modules)), layers), np.nan)
    for each in found:
        cells[modules.index(each.module), each.layer] = value(each)
    palette = matplotlib.colormaps[colours].with_extremes(bad="lightgrey")
    axes.set_yticks(range(len(modules)), modules, fontsize=9)
    axes.set_xlabel("layer", fontsize=9)
    axes.tick_params(length=2, labelsize=9)
    return axes.imshow(cells, cmap=palette, vmin=limits[0], vmax=limits[1], aspect="auto", interpolation="nearest")


def _place(module: str) -> int:
    return MODULES.index(module) if module in MODULES else len(MODULES)
