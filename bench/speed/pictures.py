"""The page's pictures, from figures alone: how cost grows, on axes that show a cliff. Knows matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.speed.figures import Figures

DPI = 110
# part -> its size, and what is drawn over it: (name in the row, with dots for parts of a part, what people read)
DRAWN: Mapping[str, tuple[str, str, Sequence[tuple[str, str]]]] = {
    "labels": (
        "labels",
        "ms",
        (
            ("uncached_p50_ms", "uncached, p50"),
            ("uncached_cpu_ms", "uncached, CPU"),
            ("cached_p50_ms", "cached, p50"),
        ),
    ),
    "adapters": (
        "adapters",
        "ms",
        (
            ("load_ms", "reading the policy"),
            ("closure_ms", "listing the closure"),
            ("request_p50_ms", "an uncached request, p50"),
            ("models_ms", "GET /v1/models"),
        ),
    ),
    "streams": (
        "open streams",
        "ms",
        (
            ("router.first_p50_ms", "first token, p50"),
            ("direct.first_p50_ms", "first token, p50, engine alone"),
            ("router.token_p50_ms", "a token's way, p50"),
            ("direct.token_p50_ms", "a token's way, p50, engine alone"),
        ),
    ),
    "prompt": (
        "characters",
        "ms",
        (
            ("words.p50_ms", "words, p50"),
            ("one word.p50_ms", "one endless word, p50"),
            ("direct_ms", "engine alone, p50"),
        ),
    ),
}


def draw(growth: Figures | None, folder: Path) -> list[Path]:
    """Draw the parts that were measured into a folder; nothing without any."""
    parts = [part for part in DRAWN if growth and part in growth]
    if not parts:
        return []
    import matplotlib

    matplotlib.use("Agg")  # a file, no window
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    figure, panels = pyplot.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for axes, part in zip(panels.flat, parts, strict=False):
        _panel(axes, part, (growth or {})[part])
    for axes in panels.flat[len(parts) :]:
        axes.set_axis_off()
    # without matplotlib's version in the file, a picture changes only when its figures do
    figure.savefig(folder / "growth.png", dpi=DPI, format="png", metadata={"Software": None})
    pyplot.close(figure)
    return [folder / "growth.png"]


def value(row: Mapping[str, Any], name: str) -> float:
    """Return a row's number by its name, with dots for parts of a part."""
    found: Any = row
    for step in name.split("."):
        found = found[step]
    return float(found)


def _panel(axes: Any, part: str, rows: Sequence[Figures]) -> None:
    size, unit, lines = DRAWN[part]
    sizes = [next(iter(row.values())) for row in rows]
    for name, said in lines:
        axes.plot(sizes, [max(value(row, name), 1e-3) for row in rows], marker="o", markersize=4, label=said)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, [f"{one:,}" for one in sizes], fontsize=8)
    axes.minorticks_off()
    axes.set(xlabel=size, ylabel=unit)
    axes.grid(True, linewidth=0.3)
    axes.legend(fontsize=8)
