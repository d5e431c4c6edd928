"""What may be called how: every adapter's name and aliases, compiled once per policy. Knows no sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    "short shorts sort sorts spot spots port ports spurt snort spore score scores cores corer corps corpse corn"
    " coder shore store chore mach match moth myth laws lawn flaw claw slaw gene genes codes".split()
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


_EXACT, _LEMMA, _LOOK_ALIKE, _TYPO = range(4)


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
        if not spoken or any(len(word) > LONGEST for word in spoken):
            return None
        found: dict[int, set[str]] = {}
        for called in self.called:
            if len(called.words) != len(spoken):
                continue
            levels = [self._level(*pair) for pair in zip(spoken, called.words, called.lemmas, strict=True)]
            known = [level for level in levels if level is not None]
            if len(known) == len(levels) and known.count(_TYPO) <= 1:
                found.setdefault(max(known), set()).add(called.adapter)
        nearest = min(found, default=_TYPO)
        if nearest == _TYPO and not typos:
            return None
        names = found.get(nearest, set())
        return next(iter(names)) if len(names) == 1 else None

    def _level(self, spoken: str, word: str, lemmas: frozenset[str]) -> int | None:
        if spoken == word:
            return _EXACT
        forms = _forms(spoken, self.lemmatizer)
        if forms & lemmas:
            return _LEMMA
        if skeleton(spoken) == skeleton(word):
            return _LOOK_ALIKE
        for plain in unmixed(spoken):
            if _forms(plain, self.lemmatizer) & lemmas:
                return _LOOK_ALIKE
        return _TYPO if self._is_typo(spoken, forms, word, lemmas) else None

    def _is_typo(self, spoken: str, forms: frozenset[str], word: str, lemmas: frozenset[str]) -> bool:
        cyrillic = is_cyrillic(spoken)
        if len(spoken) < SHORTEST_TYPO or (self.lemmatizer.knows(spoken) if cyrillic else spoken in _ENGLISH):
            return False
        if not cyrillic and len(word) == len(spoken) == SHORTEST_TYPO and sorted(word) != sorted(spoken):
            return False  # one letter of four is another English word: code, care and more are not core
        if one_edit(spoken, word):
            return True
        # "физкой" is a typo of a form nobody wrote down; its guessed dictionary form is a typo of the alias
        return cyrillic and any(one_edit(a, b) for a in forms for b in lemmas if len(a) >= SHORTEST_TYPO)

    def permit(self, names: Iterable[str]) -> None:
        """Raise Forbidden when the caller may not ask for one of the adapters `names`."""
        refused = sorted(name for name in names if not self.policy.permits(self.policy.adapter(name)))
        if refused:
            raise Forbidden(f"you may not ask for {', '.join(refused)}; {self.listing()}")

    def unknown(self, spoken: str) -> UnknownMode:
        """Return the error for a directive that names nothing known."""
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
