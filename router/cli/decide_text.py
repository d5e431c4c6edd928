"""A decision and its explanation as aligned lines. Knows the object of POST /v1/decisions and no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LONGEST = 70  # characters of an exemplar that are shown


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield the decision: four lines."""
    score = f" {told['scores'][told['label']]:.2f}" if told["label"] else ""
    yield f"label     {told['label'] or 'none'}{score}"
    yield "adapters  " + ", ".join(f"{name} x {weight}" for name, weight in told["adapters"].items())
    yield f"blend     {told['blend']}"
    yield f"why       {told['why']}"


def lines_explained(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield what explains it: the rule, the second best label, a line per gate, a line per nearest exemplar."""
    explanation = told["explanation"]
    yield f"rule      {explanation['because']}"
    if (second := explanation["runner_up"]) is not None:
        yield f"second    {second['label']} {second['score']:.2f}, {second['gap']:.2f} behind"
    rows = [_gate(margin) for margin in explanation["margins"]]
    yield from _under("gates", rows)
    near = [(each["label"], f"{each['distance']:.2f}  {short(each['text'])}") for each in told["nearest"]]
    yield from _under("nearest", near)  # the number is the cosine distance: 0 says the same


def short(text: str) -> str:
    """Return a text on one line, cut at `LONGEST` characters."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"


def _gate(margin: Mapping[str, Any]) -> tuple[str, str]:
    away = "    -" if margin["margin"] is None else f"{margin['margin']:+.2f}"
    return margin["adapter"], f"{away}  {'speaks' if margin['speaks'] else 'silent'}: {margin['because']}"


def _under(name: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    width = max((len(first) for first, _ in rows), default=0)
    for index, (first, rest) in enumerate(rows):
        yield f"{'' if index else name:<9} {first:<{width}}  {rest}"
