"""What the shipped classifier may not fall below, language by language."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("floors.json")
_CEILING = "_at_most"


def read(file: Path = FILE) -> dict[str, dict[str, dict[str, float]]]:
    """`{"shipped": {LANG: {FIGURE: floor, FIGURE_at_most: ceiling}}}`."""
    found: dict[str, dict[str, dict[str, float]]] = json.loads(file.read_text("utf-8"))
    return found


def broken(document: dict[str, Any], floors: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """One sentence for every figure on the wrong side of its floor, or that is missing; empty when all hold."""
    found = []
    for part, languages in floors.items():
        summary = document.get(part, {}).get("summary", {})
        for lang, limits in sorted(languages.items()):
            for name, limit in sorted(limits.items()):
                figure = name.removesuffix(_CEILING)
                value = summary.get(lang, {}).get(figure)
                where = f"{part}, {lang}: {figure}"
                if value is None:
                    found.append(f"{where} was not measured, and has a floor")
                elif name.endswith(_CEILING) and value > limit:
                    found.append(f"{where} is {value:.4f}, above the {limit:.4f} that is allowed")
                elif not name.endswith(_CEILING) and value < limit:
                    found.append(f"{where} is {value:.4f}, below its floor of {limit:.4f}")
    return found
