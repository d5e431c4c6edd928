"""Typing mistakes put right before a text is classified. The only module that imports pyspellchecker.

A sentence encoder reads "waht is teh velocty" as noise. Where many of a text's words are unknown, each word is
replaced by the likeliest known one that is a single slip away: a letter too many, too few, wrong, or two swapped
(Damerau 1964, "A technique for computer detection and correction of spelling errors"), the slips of a finger on
the next key counting more (a noisy channel: Kernighan, Church, Gale 1990, "A spelling correction program"). What
is known, and how usual it is, comes from the exemplars, from pyspellchecker's word lists, and for Russian from
the dictionary too. A text with few unknown words is left as it is: those are names. Knows no label and no adapter.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version

from spellchecker import SpellChecker

from router.core.words import fold

UNKNOWN = 0.25
"""The share of unknown words from which a text counts as mistyped."""

LONGEST = 24
"""Characters of the longest word that is looked into."""

SOUGHT = 40
"""Words of a text for which the Russian dictionary is asked, at up to a millisecond each."""

RARER = 100
"""How many times as usual another word must be for a known one to count as a slip ("si" for "is")."""

OTHER_KEY = 0.02
"""How likely a wrong or needless letter from another key is, beside one from a key next to the right one."""

KEYBOARDS = (
    ("qwertyuiop", "asdfghjkl", "zxcvbnm"),
    ("йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю"),
)
"""Rows of letter keys, top row first."""

_HARDLY_EVER = 1e-8  # the share of a word that only the dictionary knows
_LETTERS = {"en": "abcdefghijklmnopqrstuvwxyz", "ru": "абвгдежзийклмнопрстуфхцчшщъыьэюя"}
_WORD = re.compile(r"[^\W\d_]+")
_ENGLISH, _RUSSIAN = re.compile("[a-z]+"), re.compile("[а-я]+")


def _beside() -> dict[str, frozenset[str]]:
    found = {}
    for rows in KEYBOARDS:
        for y, row in enumerate(rows):
            for x, letter in enumerate(row):
                around = (line[max(0, x - 1) : x + 2] for line in rows[max(0, y - 1) : y + 2])
                found[letter] = frozenset("".join(around))
    return found


_BESIDE = _beside()


class Speller:
    """Puts texts right. Safe to use from several threads."""

    def __init__(self, texts: Iterable[str], known: Callable[[str], bool]) -> None:
        """Read the word lists (0.3 s, 50 MB); `texts` are the exemplars, `known` asks the Russian dictionary.

        `id`, four hex digits, changes with the word lists and with how they are used; the exemplars are not in it.
        """
        self._known = known
        self._shares = _shares(texts)
        lists = (version("pyspellchecker"), version("pymorphy3-dicts-ru"))
        rules = (UNKNOWN, LONGEST, SOUGHT, RARER, OTHER_KEY, KEYBOARDS, _HARDLY_EVER)
        self.id = hashlib.sha256(repr((lists, rules)).encode()).hexdigest()[:4]

    def correct(self, text: str) -> str:
        """Return the text with its mistyped words replaced, in lower case; all between the words stays."""
        places = list(_WORD.finditer(text))
        words = [fold(place[0]) for place in places]
        langs = [_language(word) if 1 < len(word) <= LONGEST else None for word in words]
        shares = [
            self._share(word, lang) if lang else _HARDLY_EVER for word, lang in zip(words, langs, strict=True)
        ]
        if not shares or shares.count(0.0) < UNKNOWN * len(shares):
            return text
        parts, at, sought = [], 0, 0
        for place, word, lang, share in zip(places, words, langs, shares, strict=True):
            if lang is None:
                continue
            better = self._listed(word, lang, share)
            if better is None and lang == "ru" and not share and sought < SOUGHT:
                better, sought = self._in_dictionary(word), sought + 1
            if better is not None:
                parts += [text[at : place.start()], better]
                at = place.end()
        return "".join(parts) + text[at:]

    def _share(self, word: str, lang: str) -> float:
        """Return how usual a word is, 0 for an unknown one."""
        found = self._shares[lang].get(word)
        if found is None:
            return _HARDLY_EVER if lang == "ru" and self._known(word) else 0.0
        return found

    def _listed(self, word: str, lang: str, share: float) -> str | None:
        """Return the likeliest word of the lists; None where none is `RARER` times as usual as the word itself."""
        listed = self._shares[lang]
        best, most = None, RARER * share
        for other, chance in _slips(word, lang):
            if (weight := listed.get(other, 0.0) * chance) > most:
                best, most = other, weight
        return best

    def _in_dictionary(self, word: str) -> str | None:
        """Return the first of the likeliest slips that lead to a word of the Russian dictionary."""
        slips = sorted(_slips(word, "ru"), key=lambda slip: -slip[1])
        return next((other for other, _ in slips if self._known(other)), None)


def _shares(texts: Iterable[str]) -> dict[str, dict[str, float]]:
    """Language -> word -> its share of a word list, and its share of the exemplars' words on top."""
    shares: dict[str, dict[str, float]] = {}
    for lang in _LETTERS:
        words = SpellChecker(language=lang).word_frequency
        total = words.total_words  # adds them all up
        shares[lang] = {}
        for word, count in words.items():
            shares[lang][fold(word)] = shares[lang].get(fold(word), 0.0) + count / total
    own = Counter(fold(word) for text in texts for word in _WORD.findall(text))
    everything = max(1, own.total())
    for word, count in own.items():
        if (written := _language(word)) is not None:
            shares[written][word] = shares[written].get(word, 0.0) + count / everything
    return shares


def _slips(word: str, lang: str) -> Iterator[tuple[str, float]]:
    """What may have been meant: every string from which one slip leads to `word`, with how likely the slip is."""
    for at in range(len(word) + 1):
        before, after = word[:at], word[at:]
        if after:
            beside = _BESIDE[after[0]]
            needless = (before and before[-1] in beside) or (len(after) > 1 and after[1] in beside)
            yield before + after[1:], 1.0 if needless else OTHER_KEY
            if len(after) > 1:
                yield before + after[1] + after[0] + after[2:], 1.0
        for letter in _LETTERS[lang]:
            if after:
                yield before + letter + after[1:], 1.0 if letter in _BESIDE[after[0]] else OTHER_KEY
            yield before + letter + after, 1.0


def _language(word: str) -> str | None:
    if word.isascii():
        return "en" if _ENGLISH.fullmatch(word) else None
    return "ru" if _RUSSIAN.fullmatch(word) else None
