"""The page's pictures, from figures alone. Knows matplotlib; computes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

DPI = 110
FEWEST = 10  # rows in a bin whose share right is drawn
NAMES = ("confusion.png", "reliability.png", "risk_coverage.png")
_COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red")


def draw(document: dict[str, Any], folder: Path) -> list[Path]:
    """Draw what the part `shipped` allows into a folder; nothing without it."""
    found = document.get("shipped")
    if not found:
        return []
    import matplotlib

    matplotlib.use("Agg")  # a file, no window
    folder.mkdir(parents=True, exist_ok=True)
    languages = {lang: one for lang, one in sorted(found["details"].items()) if lang != "all"}
    figures = (
        _confusion(found["labels"], found["details"]["all"]["confusion"]),
        _reliability(languages),
        _risk_coverage(languages),
    )
    paths = []
    for figure, name in zip(figures, NAMES, strict=True):
        # without matplotlib's version in the file, a picture changes only when its figures do
        figure.savefig(folder / name, dpi=DPI, format="png", metadata={"Software": None})
        paths.append(folder / name)
    from matplotlib import pyplot

    pyplot.close("all")
    return paths


def _confusion(labels: list[str], counts: list[list[int]]) -> Any:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 8), layout="constrained")
    table = np.array(counts)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(labels)):
        for column in range(len(labels)):
            if table[row, column]:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(table[row, column]), ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_xlabel("called")
    axes.set_ylabel("is")
    axes.set_title("All languages: rows of each label by what they were called", fontsize=10, loc="left")
    return figure


def _reliability(languages: dict[str, Any]) -> Any:
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(languages), figsize=(5 * len(languages), 4.6), layout="constrained")
    for axes, (lang, found) in zip(np.atleast_1d(panels), languages.items(), strict=True):
        bins = found["reliability"]
        most = max(one["rows"] for one in bins)
        width = 1 / len(bins)
        axes.bar(
            [(at + 0.5) * width for at in range(len(bins))],
            [one["rows"] / most for one in bins],
            width=width,
            color="lightgrey",
            label=f"rows (most: {most:,})",
        )
        some = [one for one in bins if one["rows"] >= FEWEST]
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
        axes.plot(
            [one["confidence"] for one in some],
            [one["accuracy"] for one in some],
            marker="o",
            markersize=4,
            label="share right",
        )
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="share right")
        axes.set_title(lang, fontsize=10, loc="left")
        axes.legend(loc="upper left", fontsize=8)
    return figure


def _risk_coverage(languages: dict[str, Any]) -> Any:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.6), layout="constrained")
    for colour, (lang, found) in zip(_COLOURS, languages.items(), strict=False):
        coverage, risk = zip(*found["curve"], strict=True)
        axes.plot(coverage, risk, color=colour, label=lang)
    for marked in (0.05, 0.1):
        axes.axhline(marked, color="grey", linewidth=0.8, linestyle=":")
    axes.set(xlim=(0, 1), ylim=(0, None), xlabel="coverage: share answered", ylabel="risk: share of those wrong")
    axes.legend(fontsize=9)
    return figure
