"""How cost grows: with labels, adapters, open streams and the length of a prompt. Looks for cliffs.

`python -m bench.speed.growth [--only labels,adapters,streams,prompt] [--json FILE]`. One measurement for each
size; what is synthetic is said in bench/speed/{labels,adapters,streams,lengths}.py. Growth between two sizes
that exceeds the growth of the size itself is named.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from bench.speed import adapters, labels, lengths, streams
from bench.speed.command import run, say
from bench.speed.figures import Figures, load

PARTS: dict[str, Callable[[], list[Figures]]] = {
    "labels": labels.measure,
    "adapters": adapters.measure,
    "streams": streams.measure,
    "prompt": lengths.measure,
}
SLACK = 1.5  # how much more than in proportion a cost must grow to be called a cliff: measurements spread
ASIDE = "direct "  # the engine's and the load's own share is no cost of the router's
RARE = re.compile(r"p9[59]_ms$")  # of a few samples these are accidents
LEAST = 5.0  # milliseconds, MB and the like: below, growth is noise


def measure(options: argparse.Namespace) -> Figures:
    """Measure the parts that were asked for; the others stay as they were measured last."""
    found = load(options.json) or {}
    chosen = options.only.split(",")
    if unknown := [part for part in chosen if part not in PARTS]:
        raise SystemExit(f"--only: no part is called {', '.join(unknown)}; there are {', '.join(PARTS)}")
    for part in chosen:
        say(f"growth: {part}")
        found[part] = PARTS[part]()
    return found


def flat(row: Figures, before: str = "") -> dict[str, float]:
    """Return a row's numbers by their names, those of its parts behind the part's name."""
    found: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= flat(value, f"{before}{name} ")
        elif isinstance(value, int | float):
            found[before + name] = float(value)
    return found


def cliffs(rows: Sequence[Figures]) -> list[str]:
    """Return the costs that grew faster than the size they depend on; the first number of a row is its size."""
    sentences = []
    for sooner, later in pairwise(map(flat, rows)):
        size = next(iter(sooner))
        grown = later[size] / sooner[size]
        place = f"where {size} went from {sooner[size]:g} to {later[size]:g}"
        sentences += [
            f"{name}: {sooner[name]:.3g} to {later[name]:.3g} {place}"
            for name in sooner
            if not name.startswith(ASIDE) and not RARE.search(name)
            if sooner[name] > 0 and later[name] > LEAST and later[name] / sooner[name] > SLACK * grown
        ]
    return sentences


def told(found: Figures) -> Sequence[str]:
    """Return what people read."""
    lines: list[str] = []
    for part in PARTS:
        if part not in found:
            continue
        lines.append(f"{part}:")
        lines += [
            "  " + "  ".join(f"{name} {value:.4g}" for name, value in flat(row).items()) for row in found[part]
        ]
        lines += [f"  CLIFF {sentence}" for sentence in cliffs(found[part])]
    return lines


def _more(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default=",".join(PARTS), help="some parts, by name, with commas")


if __name__ == "__main__":
    run("growth", __doc__, measure, told, rounds=1, more=_more)
