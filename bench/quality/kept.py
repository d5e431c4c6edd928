"""figures.json: what was measured, part by part, and nothing else. The page is rendered from it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

PARTS = ("shipped", "contenders", "ood", "clinc", "sources", "peers")
FILE = Path("docs/quality/figures.json")
DIGITS = 4
Document = dict[str, Any]


def load(file: Path = FILE) -> Document:
    """The parts that were ever measured; none where there is no file."""
    if not file.is_file():
        return {}
    found: Document = json.loads(file.read_text("utf-8"))
    return found


def save(document: Document, file: Path = FILE) -> None:
    """Write atomically, every number rounded to four digits after the point."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".new")
    ordered = {part: document[part] for part in PARTS if part in document}
    text = json.dumps(_rounded(ordered), indent=1, ensure_ascii=False)
    beside.write_text(_flat(text) + "\n", "utf-8")
    os.replace(beside, file)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {str(key): _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value


def _flat(text: str) -> str:
    """Each innermost list on one line: a confusion matrix then reads as one."""
    return re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found.group().split()), text)
