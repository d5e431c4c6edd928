"""One line being read: the names on it, and whether a phrase ends where it should. Knows no phrase.

Every step is one regex match at a position, with possessive quantifiers, so time is linear in the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from router.core import vocabulary as v
from router.core.modes import Modes
from router.core.policy import Always
from router.core.words import WORD, keyword

LEAD = re.compile(r"(?:<?@[\w.|-]{1,40}+>?[,:]?\s++|[^\w\"'«»“”„‟‘’‚`<>|{/\\]|_){0,40}")
_SPACE = re.compile(r"\s*+")
COLON = re.compile(r"\s*+[:：]\s*+")
DASH = re.compile(r"\s*+[-—–]++\s++")
SLASH_END = re.compile(r"\s*+[:=]?\s*+")
_OPENERS, _CLOSERS = "\"'«“„‘`*_", "\"'»”“’`*_"
QUOTES = "\"'«»“”„‟‘’‚`"
_PLUS = re.compile(r"\s*+\+\s*+")
_SOFT = re.compile(r"\s*+[,&/]\s*+")
_JOIN = re.compile(r"\s++(\w++)\s++")
_GLUED = re.compile(r"[@\\(=]|\.[a-z]{1,4}\b")
_CLOSING = re.compile(r"[)\]*_~]*+")
_TAIL = re.compile(r"[^\w?\"'«»“”„‟‘’‚`]*+$")
_ASKS = re.compile(r"[\s)\]*_]*+\?")
_HARD = re.compile(r"\s*+(?:[-=]>|[:：;!…→]|\.(?!\w)|\s[-—–]++(?=\s)|[—–])\s*+")
_COMMA = re.compile(r"\s*+,\s*+")
_GAP = re.compile(r"\s++")
_BETWEEN = re.compile(r"(?:[-=]>|[\s,;:：!…→)\]+]|\.(?!\w)|(?<=\w)\.(?!\d)|-++(?=\s|$)|[—–])*+")
_SEGMENT = re.compile(r"[^.,!?;:…\n]*+")


@dataclass(slots=True)
class Names:
    """A list of names: where it begins and ends, and how it was understood."""

    start: int
    end: int
    adapters: set[str]
    off: bool = False
    unknown: str | None = None
    plus: bool = False
    guessed: bool = False


class Line:
    """One line being read. Every step is a regex match at a position: time is linear in the line."""

    def __init__(self, line: str, modes: Modes) -> None:
        self.line, self.modes = line, modes

    def word(self, at: int) -> tuple[str, int]:
        """Return the keyword form of the word at `at` and its end; ("", at) when there is none."""
        match = WORD.match(self.line, at)
        return (keyword(match.group()), match.end()) if match else ("", at)

    def space(self, at: int) -> int:
        """Return the first position from `at` that is not white space."""
        return match_end(_SPACE, self.line, at)

    def skip(self, at: int, words: frozenset[str], most: int = 4) -> int:
        """Return the position behind up to `most` of `words`, with their commas and spaces."""
        for _ in range(most):
            word, end = self.word(at)
            if word not in words:
                break
            at = match_end(_COMMA, self.line, end) if _COMMA.match(self.line, end) else self.space(end)
        return at

    def addressed(self, at: int) -> int:
        """Return the position behind "Агоге," and the like: whoever always speaks, and a comma."""
        word, end = self.word(at)
        comma = _COMMA.match(self.line, end)
        name = self.modes.named(word) if comma else None
        always = name is not None and isinstance(self.modes.policy.adapter(name).when, Always)
        return comma.end() if comma and always else at

    def ended(self, at: int) -> bool:
        """Say whether nothing but punctuation and emoji follows, and no question or quotation mark."""
        return _TAIL.match(self.line, at) is not None

    # names

    def name(self, at: int) -> tuple[str | None, int, bool] | None:
        """Read one NAME or AUTO: (adapter or None, end, guessed); None when the words mean nothing."""
        ends: list[int] = []
        place = at
        while len(ends) < max(2, self.modes.longest) and (match := WORD.match(self.line, place)):
            ends.append(match.end())
            place = self.space(match.end())
        exact = [end for end in reversed(ends) if not _GLUED.match(self.line, end)]
        for typos in (False, True):
            for end in exact:
                phrase = self.line[at:end]
                key = " ".join(map(keyword, phrase.split()))
                if key in v.RESERVED:
                    return None, end, False
                if (adapter := self.modes.resolve(phrase, typos=typos)) is not None:
                    return adapter, end, typos
                if key in v.AUTO:
                    return None, end, False
        return None

    def names(self, at: int) -> Names | None:
        """Read NAMES at `at`, unknown ones too; None when no word is there or a quotation mark is stray."""
        at, opened = self._open(at, "")
        first = self.name(at)
        if first is None:
            match = WORD.match(self.line, at)
            if match is None:
                return None
            plus = _PLUS.match(self.line, match.end())
            joined = plus is not None and WORD.match(self.line, plus.end()) is not None
            end, opened = self._close(match.end(), opened)
            return Names(at, end, set(), unknown=match.group(), plus=joined)
        adapter, end, guessed = first
        end, opened = self._close(end, opened)
        found = Names(at, end, {adapter} if adapter else set(), off=adapter is None, guessed=guessed)
        while not found.off and found.unknown is None:
            separator, plus_sign = self.separator(found.end)
            if separator is None:
                break
            start, inner = self._open(separator, opened)
            following = self.name(start)
            if following is None or following[0] is None:
                word = WORD.match(self.line, start)
                if plus_sign and word and not self.begins(start, "any"):
                    found.unknown, found.plus, found.end = word.group(), True, word.end()
                break
            adapter, end, guessed = following
            end, inner = self._close(end, inner)
            if guessed and not plus_sign and not self.ended(end) and self.separator(end)[0] is None:
                break  # "физика и спортзал напротив": behind a soft separator a typo is more likely the prompt
            assert adapter is not None  # noqa: S101  # ruled out above; tells mypy
            found.adapters.add(adapter)
            found.plus, found.guessed, found.end, opened = (
                found.plus or plus_sign,
                found.guessed or guessed,
                end,
                inner,
            )
        stray = found.end < len(self.line) and self.line[found.end] in QUOTES
        return None if opened or stray else found

    def listed(self, at: int) -> set[str]:
        """Return the adapters of names parted by mere spaces up to the line's end; nothing if prose follows."""
        found: set[str] = set()
        while not self.ended(at):
            following = self.name(self.space(at))
            if following is None or following[0] is None or following[2]:
                return set()
            found.add(following[0])
            at = following[1]
        return found

    def separator(self, at: int) -> tuple[int | None, bool]:
        if match := _PLUS.match(self.line, at):
            return match.end(), True
        if match := _SOFT.match(self.line, at):
            word, end = self.word(match.end())
            return (self.space(end) if word in v.JOINED else match.end()), False
        if (match := _JOIN.match(self.line, at)) and (word := keyword(match.group(1))) in v.JOINED:
            return match.end(), word in ("плюс", "plus")
        return None, False

    def _open(self, at: int, opened: str) -> tuple[int, str]:
        while at < len(self.line) and self.line[at] in _OPENERS and len(opened) < 4:
            opened += self.line[at]
            at += 1
        return at, opened

    def _close(self, at: int, opened: str) -> tuple[int, str]:
        while opened and at < len(self.line) and self.line[at] in _CLOSERS:
            opened, at = opened[:-1], at + 1
        return at, opened

    # what follows

    def prompt(self, at: int) -> int:
        """Return where the prompt starts: behind separators and one dangling conjunction."""
        if self.ended(at):
            return len(self.line)
        at = match_end(_BETWEEN, self.line, match_end(_CLOSING, self.line, at))
        word, end = self.word(at)
        gap = _GAP.match(self.line, end) if word in v.THEN else None
        return gap.end() if gap else at

    def follow(self, at: int, *, space: bool, wary: bool) -> int | None:
        """Return where the prompt starts when the phrase ends at `at` (the `>` of the grammar), else None.

        `space`: a mere space will do before a question word or an imperative. `wary`: an uncertain
        question word counts only with a question mark on the line, whatever separates it.
        """
        at = match_end(_CLOSING, self.line, at)
        if self.ended(at):
            return len(self.line)
        comma = _COMMA.match(self.line, at)
        polite = self.skip(comma.end() if comma else self.space(at), v.AFTER_ON, 2)
        if polite > at and self.ended(polite):
            return len(self.line)
        if hard := _HARD.match(self.line, at):
            return hard.end()
        place = comma.end() if comma else match_end(_GAP, self.line, at)
        if place == at:
            return None
        word, end = self.word(place)
        joined = word in v.THEN and bool(_GAP.match(self.line, end))
        if joined:
            place = self.space(end)
        elif not comma and not space:
            return None
        return place if self.begins(place, "marked" if wary else "any") else None

    def begins(self, at: int, questions: Literal["none", "marked", "any"]) -> bool:
        """Say whether a sentence of its own begins at `at`: an imperative, or a question as far as `questions` go.

        "marked" takes a question word that may also open a relative clause only with a question mark behind it.
        """
        word, _ = self.word(at)
        if word in v.IMPERATIVES or self.modes.lemmatizer.is_imperative(word.removesuffix("-ка")):
            return True
        if questions == "none" or word not in v.QUESTIONS | v.MAYBE_QUESTIONS:
            return False
        sure = word in v.SURE_QUESTIONS or (questions == "any" and word in v.QUESTIONS)
        return sure or "?" in self.line[at:]

    def asks(self, at: int) -> bool:
        """Say whether a question mark comes right behind `at`."""
        return _ASKS.match(self.line, at) is not None

    def segment(self, at: int) -> tuple[str, int]:
        """Return the text from `at` to the next punctuation and the number of its words (3 means more)."""
        match = _SEGMENT.match(self.line, at)
        text = match.group() if match else ""
        count = 0
        for _ in WORD.finditer(text):
            count += 1
            if count == 3:
                break
        return text.strip(), count


def match_end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
