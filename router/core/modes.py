"""What may be called how: every adapter's name and aliases, compiled once per policy. Knows no sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from router.core.errors import Forbidden, UnknownMode
from router.core.policy import Policy
from router.core.words import LONGEST, fold, is_cyrillic, one_edit, parts, skeleton, unmixed

SHORTEST_TYPO = 4
"""Letters in the shortest word that may be a typo of another."""

# Real English words one letter from likely names. Russian has a dictionary behind `Lemmatizer.knows`, English
# has none here, and "mode: short" must not become sport.
_ENGLISH = frozenset(
    re.findall(
        r"\w+",
        "short shorts sort sorts spot spots port ports spurt snort spore scores cores corer corps corpse"
        " coder shore store chore match moth myth laws lawn flaw claw slaw gene genes codes",
    )
)


class Lemmatizer(Protocol):
    """Word -> dictionary forms, for directives in inflected languages."""

    def lemmas(self, word: str) -> frozenset[str]:
        """Return the lower-case dictionary forms `word` may belong to, the word itself among them."""
        ...

    def is_imperative(self, word: str) -> bool:
        """Say whether `word` can be a verb in the imperative ("объясни")."""
        ...

    def knows(self, word: str) -> bool:
        """Say whether the dictionary has `word`: then it is no typo of another word."""
        ...


@dataclass(frozen=True, slots=True)
class Called:
    """One way to call an adapter: the folded words and, word by word, their dictionary forms."""

    adapter: str
    words: tuple[str, ...]
    lemmas: tuple[frozenset[str], ...]

    @property
    def written(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Each word with its forms."""
        return zip(self.words, self.lemmas, strict=True)


_EXACT, _LEMMA, _LOOK_ALIKE, _TYPO = range(4)


@dataclass(frozen=True, slots=True)
class _Spoken:
    """One word somebody typed. `known`: it is a real word, or too short, so no typo of another."""

    word: str
    forms: frozenset[str]
    plain: frozenset[str]  # the forms of what a word of mixed script looks like
    known: bool

    @classmethod
    def of(cls, word: str, lemmatizer: Lemmatizer) -> _Spoken:
        plain = frozenset(form for look in unmixed(word) for form in _forms(look, lemmatizer))
        known = lemmatizer.knows(word) if is_cyrillic(word) else word in _ENGLISH
        return cls(word, _forms(word, lemmatizer), plain, known or len(word) < SHORTEST_TYPO)

    def level(self, word: str, lemmas: frozenset[str]) -> int | None:
        """Say how near this word is to an alias's, None when it is another word."""
        if self.word == word:
            return _EXACT
        if not self.forms.isdisjoint(lemmas):
            return _LEMMA
        if not self.plain.isdisjoint(lemmas) or skeleton(self.word) == skeleton(word):
            return _LOOK_ALIKE
        return _TYPO if not self.known and self._is_typo(word, lemmas) else None

    def _is_typo(self, word: str, lemmas: frozenset[str]) -> bool:
        cyrillic = is_cyrillic(self.word)
        if not cyrillic and len(word) == len(self.word) == SHORTEST_TYPO and sorted(word) != sorted(self.word):
            return False  # one letter of four is another English word: code, care and more are not core
        if one_edit(self.word, word):
            return True
        # "физкой" is a typo of a form nobody wrote down; its guessed dictionary form is a typo of the alias
        return cyrillic and any(one_edit(a, b) for a in self.forms for b in lemmas if len(a) >= SHORTEST_TYPO)


@dataclass(frozen=True, slots=True)
class Modes:
    """The names a caller of `policy` may use. Made by `of`; pure, though the lemmatizer caches."""

    policy: Policy
    lemmatizer: Lemmatizer
    exact: Mapping[tuple[str, ...], str]
    called: tuple[Called, ...]
    longest: int

    @classmethod
    def of(cls, policy: Policy, lemmatizer: Lemmatizer) -> Modes:
        """Compile the names and aliases of every adapter; one that two adapters share resolves to neither."""
        owners: dict[tuple[str, ...], set[str]] = {}
        for adapter in policy.adapters:
            for name in (adapter.name, *adapter.aliases):
                if words := parts(name):
                    owners.setdefault(words, set()).add(adapter.name)
        exact = {words: next(iter(names)) for words, names in owners.items() if len(names) == 1}
        called = tuple(
            Called(name, words, tuple(_forms(word, lemmatizer) for word in words)) for words, name in exact.items()
        )
        return cls(policy, lemmatizer, exact, called, max(map(len, exact), default=1))

    def named(self, phrase: str) -> str | None:
        """Return the adapter whose name or alias `phrase` is exactly (case, ё and joints aside)."""
        return self.exact.get(parts(phrase))

    def resolve(self, phrase: str, *, typos: bool = True) -> str | None:
        """Return the adapter that `phrase` means, None when none or more than one.

        The nearest match wins: exact, then another inflection ("физику"), then look-alike letters in a mixed
        script ("аgоgе"), then, with `typos`, one typo in one word of four letters or more.
        """
        spoken = parts(phrase)
        if spoken in self.exact:
            return self.exact[spoken]
        if len(spoken) > self.longest or any(len(word) > LONGEST for word in spoken):
            return None
        found: dict[int, set[str]] = {}
        words = [_Spoken.of(word, self.lemmatizer) for word in spoken]
        for called in self.called:
            if len(called.words) != len(words):
                continue
            levels = [word.level(*written) for word, written in zip(words, called.written, strict=True)]
            known = [level for level in levels if level is not None]
            if len(known) == len(levels) and known.count(_TYPO) <= 1:
                found.setdefault(max(known), set()).add(called.adapter)
        nearest = min(found, default=_TYPO)
        if nearest == _TYPO and not typos:
            return None
        names = found.get(nearest, set())
        return next(iter(names)) if len(names) == 1 else None

    def refusal(self, names: Iterable[str]) -> Forbidden | None:
        """Return the error for adapters among `names` that the caller may not ask for, None when there is none."""
        refused = sorted(name for name in names if not self.policy.permits(self.policy.adapter(name)))
        return Forbidden(f"you may not ask for {', '.join(refused)}; {self.listing()}") if refused else None

    def unknown(self, spoken: str) -> UnknownMode:
        """Return the error for a directive that names nothing known."""
        spoken = spoken if len(spoken) <= LONGEST else f"{spoken[:LONGEST]}…"
        what = f"no adapter is called {spoken!r}" if spoken else "the directive names no adapter"
        return UnknownMode(f"{what}; {self.listing()}", param="messages")

    def listing(self) -> str:
        """Return what this caller may ask for, aliases in brackets, for error messages."""
        said = []
        for name in self.policy.askable():
            aliases = self.policy.adapter(name).aliases
            said.append(f"{name} ({', '.join(aliases)})" if aliases else name)
        return f"you may ask for: {', '.join([*said, 'auto'])}"


def _forms(word: str, lemmatizer: Lemmatizer) -> frozenset[str]:
    if not is_cyrillic(word):
        return frozenset((word,))
    return frozenset(fold(lemma) for lemma in lemmatizer.lemmas(word)) | {word}


def spoken_list(names: Sequence[str]) -> str:
    """Return names the way a person would type them in a directive: `core + physics`."""
    return " + ".join(names)
