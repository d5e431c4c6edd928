"""Does a trained adapter do its work? Voice kept, knowledge gained, leakage: measured and judged.

Knows texts, losses and answers as functions; how they are computed, and what a terminal is, somebody else knows.
A core is measured alone; a domain alone and beside its core; an isolated one alone and on the core's own texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from blends.behaviour import Gain, Kept, Losses, Texts, gained, kept

Answers = Callable[[Sequence[str], Mapping[str, float]], list[str]]
"""Greedy answers to prompts when these adapters speak at these weights."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is demanded; shares in [0, 1].

    `gain`: how much of the base's loss on its own held-out texts the adapter must take off. `kept`: of what it
    gains alone, beside the other. `leak`: how much of the core's gain on its texts an isolated one may have.
    `markers`: of the answers that must hold a marker.
    """

    gain: float = 0.2
    kept: float = 0.7
    leak: float = 0.25
    markers: float = 0.9


@dataclass(frozen=True, slots=True)
class Finding:
    """One measured line: `value` against `limit`, `low` to `high` where there is an interval, and words."""

    what: str
    value: float
    limit: float
    passed: bool
    said: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """An adapter under examination: held-out texts, weight beside others, and the phrases it is known by."""

    texts: Texts
    weight: float = 1.0
    markers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The adapter's name."""
        return self.texts.name


def examine_alone(
    subject: Subject, losses: Losses, answers: Answers, limits: Limits, prompts: int
) -> list[Finding]:
    """What any adapter must do by itself: better the base on its own texts, and be recognisable."""
    found = [_gain(subject.name, gained(subject.texts.alone, {subject.name: 1.0}, losses), limits)]
    if subject.markers:
        asked = [prompt for prompt, _ in subject.texts.alone[:prompts]]
        said = answers(asked, {subject.name: 1.0})
        found.append(_holds(f"{subject.name} alone says its marker", said, subject.markers, limits.markers))
    return found


def examine_beside(
    subject: Subject, core: Subject, losses: Losses, answers: Answers, limits: Limits, prompts: int
) -> list[Finding]:
    """What a domain must do with its core: both keep what they gain, and the core's voice is heard only then."""
    weights = {core.name: core.weight, subject.name: subject.weight}
    found = [
        _kept(kept(subject.texts, weights, losses), limits),
        _kept(kept(core.texts, weights, losses), limits),
    ]
    if core.markers:
        asked = [prompt for prompt, _ in subject.texts.alone[:prompts]]
        said = answers(asked, weights)
        found.append(
            _holds(f"{core.name} + {subject.name} say {core.name}'s marker", said, core.markers, limits.markers)
        )
        said = answers(asked, {subject.name: 1.0})
        found.append(_silent(f"{subject.name} alone says {core.name}'s marker", said, core.markers))
    return found


def examine_leak(
    subject: Subject, core: Subject, losses: Losses, answers: Answers, limits: Limits, prompts: int
) -> list[Finding]:
    """What an isolated adapter must not do: know the core's voice better than the base does, or use its phrase."""
    own = gained(core.texts.alone, {core.name: 1.0}, losses)
    taken = gained(core.texts.alone, {subject.name: 1.0}, losses)
    share = max(0.0, taken.gain) / own.gain if own.gain > 0 else float(taken.gain > 0)
    found = [
        Finding(
            f"leak of {core.name} into {subject.name}", share, limits.leak, share <= limits.leak,
            f"on {core.name}'s {own.texts} held-out texts {subject.name} takes {taken.gain:+.2f} nats off the "
            f"base's {own.base:.2f} ({taken.low:+.2f} to {taken.high:+.2f}), {core.name} itself {own.gain:+.2f}",
            taken.low / own.gain if own.gain > 0 else None, taken.high / own.gain if own.gain > 0 else None,
        )
    ]  # fmt: skip
    if core.markers:
        asked = [prompt for texts in (core.texts, subject.texts) for prompt, _ in texts.alone[:prompts]]
        said = answers(asked, {subject.name: 1.0})
        found.append(_silent(f"{subject.name} says {core.name}'s marker", said, core.markers))
    return found


def _gain(name: str, gain: Gain, limits: Limits) -> Finding:
    """Its interval must exclude zero, and the gain must be a part of the base's loss that is worth an adapter."""
    share = gain.gain / gain.base
    return Finding(
        f"{name} alone knows its texts", share, limits.gain, share >= limits.gain and gain.low > 0,
        f"loss {gain.base:.2f} -> {gain.spoken:.2f} nats a token on {gain.texts} held-out texts",
        gain.low / gain.base, gain.high / gain.base,
    )  # fmt: skip


def _kept(found: Kept, limits: Limits) -> Finding:
    share = 0.0 if found.kept is None else found.kept
    return Finding(
        f"{found.name} kept beside {', '.join(found.others)}", share, limits.kept, share >= limits.kept,
        f"gain alone {found.base_alone - found.alone:.2f}, together {found.base_together - found.together:.2f} "
        f"nats a token on {found.texts} held-out texts",
        None if found.kept is None else found.low, None if found.kept is None else found.high,
    )  # fmt: skip


def _holds(what: str, said: Sequence[str], markers: Sequence[str], limit: float) -> Finding:
    count = _count(said, markers)
    return Finding(what, count / len(said), limit, count >= limit * len(said), f"{count} of {len(said)} answers")


def _silent(what: str, said: Sequence[str], markers: Sequence[str]) -> Finding:
    count = _count(said, markers)
    return Finding(what, count / len(said), 0.0, count == 0, f"{count} of {len(said)} answers; it must be none")


def _count(said: Sequence[str], markers: Sequence[str]) -> int:
    return sum(any(marker.casefold() in answer.casefold() for marker in markers) for answer in said)
