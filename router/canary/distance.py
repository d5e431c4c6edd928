"""How far apart two answers are, in log-probabilities. Pure arithmetic on tokens; knows no engine and no limit.

Two places can be compared only where everything before them is equal; after two answers part, nothing more can be
said about the speakers from their words alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from router.core.reply import Token

FLOOR = -20.0
"""Log-probabilities below are taken as this: engines write -9999 and -inf for what they do not compute."""
_PIECE = "\ufffd"  # stands for a part of a character: several tokens share this text, so it names none of them


def gap(one: Token, other: Token) -> float:
    """Return the largest difference between two distributions that their top lists prove.

    A token that is in one list only is no likelier, in the other, than the last one there.
    """
    here, there = _listed(one), _listed(other)
    if not here or not there:
        return abs(_clamped(one.logprob) - _clamped(other.logprob))
    lowest_here, lowest_there = _lowest(one), _lowest(other)
    worst = 0.0
    for text in here.keys() | there.keys():
        if text in here and text in there:
            worst = max(worst, abs(here[text] - there[text]))
        elif text in here:
            worst = max(worst, here[text] - lowest_there)
        else:
            worst = max(worst, there[text] - lowest_here)
    return worst


def gaps(one: Sequence[Token], other: Sequence[Token]) -> Iterator[float]:
    """Yield the gap at each place that both answers reach by the same tokens."""
    for mine, yours in zip(one, other, strict=False):
        yield gap(mine, yours)
        if mine.text != yours.text:
            return


@dataclass(frozen=True, slots=True)
class Distance:
    """How far apart two speakers are: at the `first` token (prefill), and at any `later` one (decode).

    `later` is infinite where they have parted, None where no answer had a second token.
    """

    first: float
    later: float | None

    def within(self, limit: float) -> str | None:
        """Say where the two are the same, None when they differ at both places."""
        if self.first <= limit:
            return "at the first token"
        if self.later is not None and self.later <= limit:
            return "after the first token"
        return None


def distance(one: Mapping[str, Sequence[Token]], other: Mapping[str, Sequence[Token]]) -> Distance:
    """Return the distance of two speakers, given as prompt -> answer: the largest over all prompts."""
    first, later = 0.0, list[float]()
    for prompt, mine in one.items():
        yours = other.get(prompt, ())
        if bool(mine) != bool(yours):
            return Distance(inf, inf)
        if not mine:
            continue
        found = list(gaps(mine, yours))
        first = max(first, found[0])
        later += found[1:]
        if len(found) < max(len(mine), len(yours)):  # one went on where the other had ended, or they parted
            later.append(inf)
    return Distance(first, max(later) if later else None)


def drift(one: Sequence[Token], other: Sequence[Token]) -> float:
    """Return how far one speaker strays from itself: the mean of the gaps while the words are the same."""
    found = list(gaps(one, other))
    return sum(found) / len(found) if found else 0.0


def expected_gap(token: Token, text: str, logprob: float) -> float:
    """Return how far the log-probability of `text` at this place is from `logprob`."""
    listed = {token.text: _clamped(token.logprob)} | _listed(token)
    bare = {_bare(each): value for each, value in reversed(listed.items())}
    heard = listed.get(text, bare.get(_bare(text)))
    if heard is not None:
        return abs(heard - _clamped(logprob))
    return max(0.0, _clamped(logprob) - _lowest(token))


def expected_gaps(heard: Sequence[Token], texts: Sequence[str], logprobs: Sequence[float]) -> Iterator[float]:
    """Yield `expected_gap` at each place that is reached by the expected tokens, up to a part of a character.

    Two bytes of one letter are written in as many ways as there are engines (U+FFFD in peft's reference, nothing
    in vLLM), so nobody can say there whether the same was heard.
    """
    for token, text, logprob in zip(heard, texts, logprobs, strict=False):
        if not (whole(token.text) and whole(text)):
            return
        yield expected_gap(token, text, logprob)
        if not alike(token.text, text):
            return


def alike(one: str, other: str) -> bool:
    """Say whether two programs mean one token: they write its leading space in several ways, or not at all."""
    return _bare(one) == _bare(other)


def _bare(text: str) -> str:
    return text.lstrip(" \u2581\u0120") or text


def whole(text: str) -> bool:
    """Say whether a text consists of whole characters, so that asking with it means the same tokens' text.

    vLLM writes a token that begins a character as nothing, and the character at the token that ends it.
    """
    return text != "" and _PIECE not in text


def _clamped(logprob: float) -> float:
    return max(FLOOR, logprob)


def _listed(token: Token) -> dict[str, float]:
    return {text: _clamped(value) for text, value in token.top.items() if whole(text)}


def _lowest(token: Token) -> float:
    return _clamped(min(token.top.values(), default=FLOOR))
