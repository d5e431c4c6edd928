"""The public sets, from a folder that is none of ours: prompts with their source, and CLINC150."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from classifiers import Row, read_rows

TRAIN, TEST, CLINC = "domains_train.jsonl", "domains_test.jsonl", "clinc150/data_full.json"
EXEMPLARS = Path("policies/exemplars")
OTHERS = "the others together"
LEAST = 500  # rows that a family of sources needs to be held out alone


class DataMissing(Exception):
    """The folder does not hold what is asked for."""


@dataclass(frozen=True)
class Prompts:
    """Labelled rows and, in the same order, the family of sources that each comes from."""

    rows: tuple[Row, ...]
    families: tuple[str, ...]


@dataclass(frozen=True)
class Clinc:
    """CLINC150: rows labelled by intent, and questions that have none (Larson et al. 2019)."""

    train: tuple[Row, ...]
    test: tuple[Row, ...]
    outside: tuple[str, ...]


def require(folder: Path) -> None:
    """Raise `DataMissing` naming every file that the folder lacks."""
    missing = [name for name in (TRAIN, TEST, CLINC) if not (folder / name).is_file()]
    if missing:
        raise DataMissing(
            f"{folder}: no {', no '.join(missing)} here; give the folder of the public sets (docs/quality.md says "
            "what they are and where they come from)"
        )


def read_prompts(file: Path) -> Prompts:
    """Rows of `{text, label, lang, source}`; raises `RowError`."""
    rows = read_rows(file)
    lines = [line for line in file.read_text("utf-8").split("\n") if line.strip()]
    return Prompts(tuple(rows), tuple(family(str(json.loads(line).get("source", ""))) for line in lines))


def read_clinc(file: Path) -> Clinc:
    """The published `data_full.json`; rows count as English."""
    found = json.loads(file.read_text("utf-8"))

    def rows(part: str) -> tuple[Row, ...]:
        return tuple(Row(intent, "en", text) for text, intent in found[part])

    return Clinc(rows("train"), rows("test"), tuple(text for text, _ in found["oos_test"]))


def family(source: str) -> str:
    """What a source shares with its siblings: "OpenTriviaQA/music" is of the family "OpenTriviaQA"."""
    for mark in ("/", " (", ":", " machine-translated", " via "):
        source = source.split(mark)[0]
    return source.strip() or "unnamed"


def groups(families: Iterable[str]) -> list[tuple[str, frozenset[str]]]:
    """Name and members of what is held out together: each large family, and all small ones at once."""
    counts: dict[str, int] = {}
    for one in families:
        counts[one] = counts.get(one, 0) + 1
    large = sorted((one for one in counts if counts[one] >= LEAST), key=lambda one: -counts[one])
    small = frozenset(counts) - set(large)
    return [(one, frozenset({one})) for one in large] + ([(OTHERS, small)] if small else [])
