"""Outcomes -> exemplars to learn from, and why the others are none. Pure; knows no store and prints nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from classifiers import Row, RowError
from classifiers.additions import guess_lang
from classifiers.encoders.text import MAX_CHARACTERS, has_words
from classifiers.rows import same
from router.core.outcome import Outcome

REASONS: Mapping[str, str] = {
    "other_verdict": "of the other verdict",
    "no_text": "no text was sent along",
    "not_scored": "the label was not this text's own: inherited, or the user named who speaks",
    "no_label": "wrong, and nobody said what would be right",
    "nothing_decided": "right, and the decision had no label",
    "repeated": "said before",
    "contradicted": "people disagree",
    "known": "already an exemplar",
    "known_otherwise": "already an exemplar with another label",
    "unknown_label": "no exemplar has the label",
    "no_words": "holds no letter and no digit",
    "too_long": f"longer than {MAX_CHARACTERS} characters",
    "broken": "holds half a character",
    "no_language": "neither Cyrillic nor Latin letters",
}
"""Why an outcome is left out: a stable name, and what it says to a person."""

Which = Literal["right", "wrong", "all"]


@dataclass(slots=True)
class Contradiction:
    """One text about which people disagree: how often each label was said to be right, and how often wrong."""

    text: str
    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    @property
    def real(self) -> bool:
        """Whether two labels are said to be right, or one both right and wrong."""
        return len(self.right) > 1 or any(label in self.right for label in self.wrong)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows in the order in which their texts first came, what was left out by reason, what is disputed."""

    rows: tuple[Row, ...]
    left_out: Counter[str]
    contradictions: tuple[Contradiction, ...]


def choose(outcomes: Iterable[Outcome], known: Sequence[Row], which: Which = "all") -> Chosen:
    """Choose what may become an exemplar beside those `known`; `which` verdicts may.

    Disagreement is looked for among all outcomes, whatever `which` is; nobody wins: not the later, not the more.
    """
    every = tuple(outcomes)
    said: dict[str, Contradiction] = {}
    for each in every:
        if each.text is not None and each.scored:
            _count(said.setdefault(same(each.text), Contradiction(each.text.strip())), each)
    labels = {row.label for row in known}
    there = {same(row.text): row.label for row in known}
    left_out: Counter[str] = Counter()
    rows: dict[str, Row] = {}
    for each in every:
        row = _row(each, which, labels)
        if isinstance(row, Row):
            key = same(row.text)
            if said[key].real:
                row = "contradicted"
            elif key in there:
                row = "known" if there[key] == row.label else "known_otherwise"
            elif key in rows:
                row = "repeated"
            else:
                rows[key] = row
        if isinstance(row, str):
            left_out[row] += 1
    disputed = tuple(each for each in said.values() if each.real)
    return Chosen(tuple(rows.values()), left_out, disputed)


def _count(text: Contradiction, outcome: Outcome) -> None:
    meant = _meant(outcome)
    if meant is not None:
        text.right[meant] += 1
    if outcome.verdict == "wrong" and outcome.decided is not None and outcome.decided != meant:
        text.wrong[outcome.decided] += 1


def _meant(outcome: Outcome) -> str | None:
    return outcome.decided if outcome.verdict == "right" else outcome.label


def _row(outcome: Outcome, which: Which, labels: set[str]) -> Row | str:
    """Return the exemplar that an outcome would be, or why it is none."""
    meant, text = _meant(outcome), outcome.text
    if which not in ("all", outcome.verdict):
        return "other_verdict"
    if text is None:
        return "no_text"
    if not outcome.scored:
        return "not_scored"
    if meant is None:
        return "no_label" if outcome.verdict == "wrong" else "nothing_decided"
    text = text.strip()
    if meant not in labels:
        return "unknown_label"
    if not has_words(text):
        return "no_words"
    if len(text) > MAX_CHARACTERS:
        return "too_long"
    try:
        text.encode()
        return Row(meant, guess_lang(text), text)
    except UnicodeEncodeError:
        return "broken"
    except RowError:
        return "no_language"
