"""What was promised, and whether the figures keep it. Knows the JSON of the measurements, no measurement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.speed.figures import Figures
from bench.speed.rate import ratios

Documents = Mapping[str, Figures | None]


@dataclass(frozen=True, slots=True)
class Target:
    """One promise: what is measured, the limit, whether less or more is better, and where the figure is."""

    what: str
    limit: float
    unit: str
    at_most: bool
    found: Callable[[Documents], Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A target and what was measured; None where nothing was."""

    target: Target
    measured: float | None

    @property
    def kept(self) -> bool:
        """Whether the target is hit."""
        if self.measured is None:
            return False
        return self.measured <= self.target.limit if self.target.at_most else self.measured >= self.target.limit

    @property
    def verdict(self) -> str:
        """Hit or missed, and by how much: the part of the limit that is left, or that is too much."""
        if self.measured is None:
            return "not measured"
        apart = abs(self.measured - self.target.limit) / self.target.limit
        return f"{'hit' if self.kept else '**missed**'}, by {100 * apart:.0f} %"


def _median(document: str, *steps: str) -> Callable[[Documents], Any]:
    def find(documents: Documents) -> Any:
        found: Any = documents[document]
        for step in (*steps, "median"):
            found = found[step]
        return found

    return find


def _ratio(pair: str) -> Callable[[Documents], Any]:
    return lambda documents: ratios(documents["rate"] or {"systems": {}})[pair]["cpu"]


def _start(name: str, otherwise: str) -> Callable[[Documents], Any]:
    """What `bench.memory` says of one worker; without it, what was seen beside the requests per second."""

    def find(documents: Documents) -> Any:
        if (memory := documents.get("memory")) is not None:
            return memory["workers"]["1"][name]
        return (documents["rate"] or {})["memory"]["Agoge"][otherwise]

    return find


TARGETS = (
    Target("added latency, cached, p50", 1, "ms", True, _median("latency", "added", "cached")),
    Target("added latency, uncached, 12 tokens, p50", 3, "ms", True, _median("latency", "added", "uncached 12")),
    Target("added latency, uncached, 60 tokens, p50", 6, "ms", True, _median("latency", "added", "uncached 60")),
    Target(
        "CPU of an uncached request, 12 tokens, over its floor",
        1.5,
        "times",
        True,
        _median("floor", "kinds", "uncached 12", "ratio"),
    ),
    Target(
        "CPU of an uncached request, 60 tokens, over its floor",
        1.5,
        "times",
        True,
        _median("floor", "kinds", "uncached 60", "ratio"),
    ),
    Target(
        "requests per second of a core's time, cached, over LiteLLM's",
        10,
        "times",
        False,
        _ratio("Agoge, cached / LiteLLM, plain"),
    ),
    Target(
        "requests per second of a core's time, uncached, over LiteLLM's auto-router",
        10,
        "times",
        False,
        _ratio("Agoge, uncached / LiteLLM, auto-router"),
    ),
    Target("resident memory of the serving process", 300, "MB", True, _start("rss_mb_of_a_worker", "rss_mb")),
    Target("ready after", 3, "s", True, _start("ready_seconds", "ready_seconds")),
)


def outcomes(documents: Documents) -> list[Outcome]:
    """Return every target with its figure."""
    return [Outcome(target, _found(target, documents)) for target in TARGETS]


def _found(target: Target, documents: Documents) -> float | None:
    try:
        return float(target.found(documents))
    except (KeyError, TypeError):  # never measured, or without the peers
        return None
