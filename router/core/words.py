"""How a spoken word is compared with a written one: case, ё, look-alike letters, one typo. Knows no adapter.

Look-alikes are the Cyrillic and Latin letters that share a glyph (Unicode's confusables, lower and upper case):
people mix them when they switch the keyboard in the middle of a word.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST = 40
"""Characters in the longest word anybody compares; longer ones are not names."""

_LETTER = "[^\\W_][\\u0300-\\u036f]*"  # a letter or digit with its combining marks ("й" may come as two)
WORD = re.compile(f"(?:{_LETTER})+(?:[-_'’](?:{_LETTER})+|\\.\\d+)*")
"""One word: letters and digits, inner hyphens, underscores and apostrophes, decimals ("v2.1")."""

_UNSEEN = re.compile(
    "[\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f"
    "\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\U000e0000-\\U000e0fff]"
    "|(?<=[\\u0400-\\u052f])[\\u0300\\u0301]"
)
_MAY_BE_UNSEEN = re.compile(  # one set, which is searched five times as fast as the rule itself
    "[\\u00ad\\u0300\\u0301\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e"
    "\\u2060-\\u206f\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\U000e0000-\\U000e0fff]"
)
_BREAK = re.compile("[\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")  # str.translate takes 30 times as long

_JOINT = re.compile(r"[-_'’.\s]+")
_CYRILLIC = "авекмнорстухіјѕ"
_LATIN = "abekmhopctyxijs"
_TO_LATIN = str.maketrans(_CYRILLIC, _LATIN)
_TO_CYRILLIC = str.maketrans(_LATIN, _CYRILLIC)


def fold(text: str) -> str:
    """Return `text` in the form in which words are compared: NFKC, lower case, ё as е."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text).lower().replace("ё", "е")


def visible(text: str) -> str:
    """Return `text` without what nobody sees or types on purpose.

    That is Unicode's Default_Ignorable_Code_Point (zero-width spaces, soft hyphens, direction marks, ...), which
    copying from web pages and chats brings along, and the stress marks that dictionaries put on Russian vowels.
    """
    return _UNSEEN.sub("", text) if _MAY_BE_UNSEEN.search(text) else text


def behind(text: str, count: int) -> int:
    """Return the position in `text` behind the first `count` characters of `visible(text)`."""
    at = 0
    for unseen in _UNSEEN.finditer(text):
        if count <= unseen.start() - at:
            break
        count -= unseen.start() - at
        at = unseen.end()
    return at + count


def lines(text: str) -> str:
    """Return `text` with every character that ends a line as a newline, each at its own place."""
    return _BREAK.sub("\n", text)


def parts(phrase: str) -> tuple[str, ...]:
    """Return the folded words of `phrase`; hyphens, underscores and dots part words as spaces do."""
    return tuple(part for part in _JOINT.split(fold(phrase)) if part)


def skeleton(word: str) -> str:
    """Return a folded word with every look-alike letter in its Latin form: equal skeletons look equal."""
    return word.translate(_TO_LATIN)


def is_cyrillic(word: str) -> bool:
    """Say whether a folded word has a Cyrillic letter."""
    return any("\u0400" <= letter <= "\u04ff" for letter in word)


def _is_latin(word: str) -> bool:
    return any("a" <= letter <= "z" for letter in word)


def unmixed(word: str) -> tuple[str, ...]:
    """Return the one-script words that a folded word of mixed script looks like; () when it is not mixed."""
    if not (is_cyrillic(word) and _is_latin(word)):
        return ()
    cyrillic, latin = word.translate(_TO_CYRILLIC), word.translate(_TO_LATIN)
    return tuple(
        plain for plain, impure in ((cyrillic, _is_latin(cyrillic)), (latin, is_cyrillic(latin))) if not impure
    )


def keyword(word: str) -> str:
    """Return the folded word in one script, for looking it up in a word list."""
    folded = fold(word)
    return next(iter(unmixed(folded)), folded)


def one_edit(one: str, other: str) -> bool:
    """Say whether the Damerau-Levenshtein distance (optimal string alignment) is exactly 1."""
    if one == other or abs(len(one) - len(other)) > 1:
        return False
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    if len(one) > len(other):
        return one[at + 1 :] == other[at:]
    if len(one) < len(other):
        return one[at:] == other[at + 1 :]
    if one[at + 1 :] == other[at + 1 :]:
        return True
    return one[at : at + 2] == other[at : at + 2][::-1] and one[at + 2 :] == other[at + 2 :]
