"""Samples -> figures: percentiles, and the median and spread of what rounds found. Knows no measurement."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Figures = dict[str, Any]
FOLDER = Path("docs/performance")
DIGITS = 5


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least `share` (0 to 1) of the samples do not exceed (nearest rank).

    Raises ValueError where there are none.
    """
    if not samples:
        raise ValueError("of no samples there is no percentile")
    ordered = sorted(samples)
    rank = -int(-share * len(ordered) // 1)  # rounded up
    return ordered[max(0, rank - 1)]


def over(rounds: Sequence[float]) -> Figures:
    """Return what several rounds found of one thing: median, least, most, and how many rounds."""
    return {"median": statistics.median(rounds), "least": min(rounds), "most": max(rounds), "rounds": len(rounds)}


def latencies(rounds: Sequence[Sequence[float]], unit: float = 1e3) -> Figures:
    """Return p50 over the rounds, and p95 and p99 of all samples together; seconds become `unit`s, milliseconds.

    A busy moment spoils one round's median and not the median of the rounds.
    """
    pooled = [sample * unit for samples in rounds for sample in samples]
    return {
        "p50": over([percentile(samples, 0.5) * unit for samples in rounds]),
        "p95": percentile(pooled, 0.95),
        "p99": percentile(pooled, 0.99),
        "samples": len(pooled),
    }


def machine() -> Figures:
    """Return what the figures of a run depend on and nobody can see afterwards."""
    return {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def rounded(value: Any) -> Any:
    """Return a document whose floats have `DIGITS` significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {str(key): rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return value


def save(found: Figures, file: Path) -> None:
    """Write atomically what one command found."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps(rounded(found), indent=1, ensure_ascii=False) + "\n", "utf-8")
    os.replace(beside, file)


def load(file: Path) -> Figures | None:
    """Return what a command found, None where it never ran."""
    if not file.is_file():
        return None
    found: Figures = json.loads(file.read_text("utf-8"))
    return found


def shown(found: Figures, digits: int = 2) -> str:
    """Return what `over` found, for people: the median, and from least to most."""
    return f"{found['median']:.{digits}f} ({found['least']:.{digits}f} to {found['most']:.{digits}f})"
