"""Russian word forms through pymorphy3. The only module that imports it; knows no directive and no adapter.

The dictionary (about 0.1 s to load) is read at the first word, not at import. Answers are kept in a bounded cache,
because the same few words open most messages.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymorphy3 import MorphAnalyzer

LONGEST = 40
"""Characters in the longest word that is looked up; analysing time grows with the length."""

LIKELY = 0.2
"""Least probability (pymorphy's, of all readings together) at which a word counts as an imperative."""


@cache
def _analyzer() -> MorphAnalyzer:
    from pymorphy3 import MorphAnalyzer

    return MorphAnalyzer()


class RussianLemmatizer:
    """Implements `Lemmatizer` for Russian; a word in another script is its own only form."""

    def __init__(self, remembered: int = 4096) -> None:
        """`remembered` is how many words the cache holds."""
        self._read = lru_cache(maxsize=remembered)(self._analyse)

    def _analyse(self, word: str) -> tuple[frozenset[str], float, bool]:
        if len(word) > LONGEST or not any("а" <= letter <= "я" or letter == "ё" for letter in word):
            return frozenset((word,)), 0.0, False
        readings: list[Any] = _analyzer().parse(word)
        known = any(reading.is_known for reading in readings)
        imperative = sum(float(reading.score) for reading in readings if "impr" in reading.tag)
        return frozenset({word, *(str(reading.normal_form) for reading in readings)}), imperative, known

    def lemmas(self, word: str) -> frozenset[str]:
        """Return the lower-case dictionary forms `word` may belong to, the word itself among them."""
        return self._read(word.lower())[0]

    def is_imperative(self, word: str) -> bool:
        """Say whether the dictionary's `word` is likely an imperative ("объясни"); "три" is a number first."""
        _, imperative, known = self._read(word.lower())
        return known and imperative >= LIKELY

    def knows(self, word: str) -> bool:
        """Say whether the dictionary has `word`."""
        return len(word) <= LONGEST and bool(_analyzer().word_is_known(word.lower()))
