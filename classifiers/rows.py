"""Labelled texts: reads JSONL strictly and gives rows an identity. Knows no encoder and no head."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classifiers.errors import RowError

_SHAPE = 'one JSON object per line, for example {"text": "Why is the sky blue?", "label": "physics", "lang": "en"}'


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """One labelled text. `lang` is a language tag (`en`, `ru`); evaluation is reported by it."""

    label: str
    lang: str
    text: str


def read_rows(path: Path) -> list[Row]:
    """Read one JSONL file of `{"text", "label", "lang", ...}`; further keys are allowed and ignored.

    Raises `RowError` naming file and line: a half-read file would be a silently different classifier.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RowError(f"{path}: cannot be read as UTF-8 text ({error}); expected {_SHAPE}") from error
    # Not splitlines(): that also splits at U+2028, which JSON allows inside a string.
    lines = content.split("\n")
    rows = [read_row(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise RowError(f"{path}: holds no rows; expected {_SHAPE}")
    return rows


def read_exemplars(folder: Path) -> list[Row]:
    """Read every `*.jsonl` of a folder as training rows, sorted so that file order never changes a
    classifier.

    Raises `RowError` for a missing or empty folder and for a text that occurs twice: with one label it would
    weigh double and leak between folds, with two it contradicts itself.
    """
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    if not files:
        raise RowError(f"{folder}: no exemplars here; expected a folder with at least one *.jsonl file, {_SHAPE}")
    labels: dict[str, tuple[str, Path]] = {}
    rows: list[Row] = []
    for file in files:
        for row in read_rows(file):
            key = same(row.text)
            if key in labels:
                label, first = labels[key]
                raise RowError(
                    f"{file}: {row.text!r} ({row.label}) is already in {first.name} as {label}; "
                    "keep each text once, under one label"
                )
            labels[key] = (row.label, file)
            rows.append(row)
    return sorted(rows)


def same(text: str) -> str:
    """Return what two texts have in common when they count as one: case and spaces do not matter."""
    return " ".join(text.casefold().split())


def line_of(row: Row) -> str:
    """Return a row as its line of JSONL, newline included: what `read_rows` reads back."""
    return json.dumps({"text": row.text, "label": row.label, "lang": row.lang}, ensure_ascii=False) + "\n"


def unseen(rows: Iterable[Row], taught: Iterable[Row]) -> list[Row]:
    """The rows that are none of those taught: on those a classifier would be better than it is."""
    texts = {same(row.text) for row in taught}
    return [row for row in rows if same(row.text) not in texts]


def digest(rows: Iterable[Row]) -> str:
    """sha256 (hex) of the rows, whatever their order and whatever files they came from."""
    state = hashlib.sha256()
    for row in sorted(rows):
        state.update(json.dumps([row.label, row.lang, row.text], ensure_ascii=True).encode("ascii") + b"\n")
    return state.hexdigest()


def require_labels(rows: Sequence[Row], labels: Sequence[str], place: str) -> None:
    """Raise `RowError` when a row carries a label that is not one of `labels`."""
    for row in rows:
        if row.label not in labels:
            raise RowError(f"{place}: unknown label {row.label!r} on {row.text!r}; known: {', '.join(labels)}")


def read_row(line: str, place: str) -> Row:
    """Read one line; `place` is where it stands, for the `RowError`."""
    try:
        value: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise RowError(f"{place}: not JSON ({error.msg}, column {error.colno}); expected {_SHAPE}") from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, or 1,000 levels
        raise RowError(f"{place}: not JSON that can be read ({error}); expected {_SHAPE}") from error
    if not isinstance(value, dict):
        raise RowError(f"{place}: a {type(value).__name__}, not an object; expected {_SHAPE}")
    for key in ("text", "label", "lang"):
        if key not in value:
            raise RowError(f"{place}: {key!r} is missing; expected {_SHAPE}")
        if not isinstance(value[key], str) or not value[key].strip():
            raise RowError(f"{place}: {key!r} is {value[key]!r}; expected a non-empty string")
    if value["lang"] == "all":
        raise RowError(
            f"{place}: 'lang' is 'all', which names the sum over languages in reports; expected a tag like en"
        )
    return Row(label=value["label"], lang=value["lang"], text=value["text"])
