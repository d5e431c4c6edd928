"""New exemplars for a folder: checked before anything else, written atomically. Knows no encoder and no head."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from classifiers.encoders.text import MAX_CHARACTERS, has_words
from classifiers.errors import RowError
from classifiers.rows import Row, digest, line_of, read_exemplars, read_row, read_rows, same


@dataclass(frozen=True, slots=True)
class Additions:
    """Rows that may be appended to `file`. `before` are the folder's exemplars as they were checked against."""

    rows: tuple[Row, ...]
    file: Path
    before: tuple[Row, ...]


def prepare(
    folder: Path, label: str, texts: Sequence[str], lang: str | None = None, new_label: bool = False
) -> Additions:
    """Check new texts of one label against a folder of exemplars; `lang` None is guessed from each text's script.

    Raises `RowError` for a label that nobody has (unless `new_label`), a text that stands there already, one that
    says nothing, and one that encoders would not see whole.
    """
    before = read_exemplars(folder)
    _require_label(label, {row.label for row in before}, new_label)
    seen: set[str] = set()
    rows = []
    for text in (text.strip() for text in texts):
        _require_text(text, folder, seen)
        seen.add(same(text))
        row = Row(label, lang if lang is not None else guess_lang(text), text)
        rows.append(read_row(line_of(row), "the new exemplar"))  # what could not be read again is never written
    return Additions(tuple(rows), _file_of(label, folder), tuple(before))


def save(additions: Additions) -> None:
    """Append the rows to their file: a new file beside it, then one rename.

    Raises `RowError` when the exemplars are no longer those that the rows were checked against.
    """
    file = additions.file.resolve()  # a rename over a link would leave two files
    if digest(read_exemplars(additions.file.parent)) != digest(additions.before):
        raise RowError(f"{additions.file.parent}: changed meanwhile; nothing was saved, run it again")
    content = file.read_text(encoding="utf-8") if file.exists() else ""
    if content and not content.endswith("\n"):
        content += "\n"
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
            out.write(content + "".join(line_of(row) for row in additions.rows))
            out.flush()
            os.fsync(out.fileno())
        if file.exists():
            shutil.copymode(file, name)
        else:
            os.chmod(name, 0o644)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def guess_lang(text: str) -> str:
    """Return `ru` for a text with a Cyrillic letter, else `en` for one with a Latin letter.

    Raises `RowError` for any other script. Transliterated Russian is taken for English: say `ru` there.
    """
    letters = [character for character in text.casefold() if character.isalpha()]
    if any("\u0400" <= letter <= "\u04ff" for letter in letters):
        return "ru"
    if any(letter <= "\u024f" for letter in letters):
        return "en"
    raise RowError(f"{text!r:.80}: no Cyrillic or Latin letters to guess its language by; name it")


def _require_label(label: str, known: set[str], new_label: bool) -> None:
    if new_label and label in known:
        raise RowError(f"the label {label!r} is not new; leave --new-label out")
    if not new_label and label not in known:
        raise RowError(
            f"no exemplar has the label {label!r}; known: {', '.join(sorted(known))}; --new-label makes a new one"
        )
    if new_label and not re.fullmatch(r"\w[\w-]{0,63}", label):
        raise RowError(f"{label!r:.80} cannot be a label's file name; use letters, digits, _ and -")


def _require_text(text: str, folder: Path, seen: set[str]) -> None:
    if not has_words(text):
        raise RowError(f"{text!r}: holds no letter and no digit; give a prompt as somebody would write it")
    if len(text) > MAX_CHARACTERS:
        raise RowError(f"a text of {len(text)} characters; encoders see {MAX_CHARACTERS}; give the telling part")
    if same(text) in seen:
        raise RowError(f"{text!r:.80} is given twice")
    if (place := _place_of(text, folder)) is not None:
        raise RowError(f"{text!r:.80} is already an exemplar: {place}")


def _place_of(text: str, folder: Path) -> str | None:
    """Return `file:line (label)` of the same text, None when the folder does not have it."""
    for file in sorted(folder.glob("*.jsonl")):
        numbers = (i for i, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1) if line.strip())
        for number, row in zip(numbers, read_rows(file), strict=True):
            if same(row.text) == same(text):
                return f"{file}:{number} ({row.label})"
    return None


def _file_of(label: str, folder: Path) -> Path:
    """Return the file that holds most of the label's rows; a file of its own for a new label."""
    counts = Counter({file: sum(row.label == label for row in read_rows(file)) for file in folder.glob("*.jsonl")})
    file, count = max(counts.items(), key=lambda entry: (entry[1], entry[0].name))
    return file if count else folder / f"{label}.jsonl"
