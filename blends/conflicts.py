"""Which adapters of a policy's closure get in each other's way: geometry, behaviour, a sentence, the figure.

Knows blends' specs and folders; torch is loaded by `blends.runtime` alone, and only where behaviour is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blends.base import BASE_ID
from blends.behaviour import Kept, Losses, Text, kept, read_texts, remembered
from blends.geometry import Geometry, compare
from blends.recipe import HELDOUT
from blends.runtime import Runtime
from blends.sources import resolve
from blends.spec import Spec, member_of

Member = tuple[str, float, str]
"""(name, weight, source), as in a Spec."""

PACKAGES = ("torch", "transformers", "peft")


@dataclass(frozen=True, slots=True)
class Conflict:
    """What a blend costs its members; `str()` is the figures. Satisfies `blends.build.Conflict`."""

    members: tuple[Kept, ...]

    @property
    def worst(self) -> float:
        """The largest share of its own gain that a member loses: max over members of max(0, 1 - kept)."""
        return max(member.lost for member in self.members)

    def __str__(self) -> str:
        """Return each member's share with its interval and losses."""
        return "; ".join(map(told, self.members))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two members that some blend holds. `behaviour` is None where it was not measured; `unmeasured` says why.

    `voice` is the one that the sentence is told from: a core, where one of them is one.
    """

    members: tuple[Member, Member]
    base: str
    geometry: Geometry
    behaviour: Conflict | None = None
    unmeasured: str | None = None
    voice: str | None = None

    @property
    def name(self) -> str:
        """`core+physics`"""
        return "+".join(member[0] for member in self.members)

    @property
    def verdict(self) -> str:
        """One sentence: who loses how much when the other joins."""
        if self.behaviour is None:
            return f"not measured: {self.unmeasured}"
        voice, guest = _roles(self.behaviour.members, self.voice)
        return f"{_loses(guest, voice.name)}; {_keeps(voice)}"


def pairs_of(specs: Iterable[Spec]) -> list[tuple[tuple[Member, Member], str]]:
    """Return every pair of members that a blend holds, with its base, each once, sorted."""
    found = {
        (pair, spec.base) for spec in specs for pair in combinations(sorted(spec.members), 2) if not spec.alone
    }
    return sorted(found)


class Meter:
    """Measures blends of policies whose relative sources start from `relative_to`; loads a base once, when needed.

    `base` is where the base model lies on this machine (a folder, a GGUF file, a hub id); None is the carried one
    if that is the policy's, else the policy's own id. Call it as `build`'s `conflict_of`.
    """

    def __init__(
        self, relative_to: Path, base: Path | str | None = None, cache_dir: Path | None = None,
        progress: Callable[[str], None] = lambda what: None,
    ) -> None:  # fmt: skip
        self._relative_to, self._base, self._cache_dir = relative_to, base, cache_dir
        self._progress = progress
        self._runtimes: dict[str, tuple[Runtime, Losses]] = {}

    def folder(self, member: Member) -> Path:
        """Return where the member's adapter lies. Raises SourceRefused."""
        return resolve(member[2], self._relative_to, self._cache_dir)

    def lacking(self, members: Sequence[Member]) -> str | None:
        """Return what is missing for measuring behaviour, None when nothing is."""
        if absent := [package for package in PACKAGES if find_spec(package) is None]:
            return f"the packages {', '.join(absent)} are missing; they come with the extra [train]"
        bare = [member[0] for member in members if not (self.folder(member) / HELDOUT).is_file()]
        return f"no {HELDOUT} beside {', '.join(bare)}" if bare else None

    def behaviour(self, members: Sequence[Member], base: str) -> Conflict:
        """Measure what every member keeps when all of them speak. Raises RecipeInvalid and what loading raises."""
        weights = {name: weight for name, weight, _ in members}
        losses = self._speaking(members, base)
        shares = []
        for member in members:
            self._progress(f"{'+'.join(weights)}: {member[0]}")
            shares.append(kept(read_texts(member[0], self.folder(member)), weights, losses))
        return Conflict(tuple(shares))

    def pair(self, members: tuple[Member, Member], base: str, *, behave: bool = True) -> Pair:
        """Measure one pair; without `behave` its geometry only, which needs no base model."""
        first, second = (member_of(name, self.folder((name, weight, source)), weight)
                         for name, weight, source in members)  # fmt: skip
        geometry = compare(first.adapter, second.adapter, (first.weight, second.weight))
        reason = self.lacking(members) if behave else "only geometry was asked for"
        behaviour = self.behaviour(members, base) if reason is None else None
        return Pair(members, base, geometry, behaviour, reason)

    def __call__(self, spec: Spec) -> Conflict | None:
        """Measure a whole blend for `build`'s gate; None when there is nothing to measure it with."""
        return None if self.lacking(spec.members) else self.behaviour(spec.members, spec.base)

    def _speaking(self, members: Sequence[Member], base: str) -> Losses:
        """Return the losses of these members under their own names; the runtime knows them by their folders."""
        if base not in self._runtimes:
            self._progress("loading the base")
            runtime = Runtime.load(self._base or (None if base == BASE_ID else base))
            self._runtimes[base] = runtime, remembered(runtime.losses)
        runtime, recall = self._runtimes[base]
        folders = {name: str(self.folder((name, weight, source))) for name, weight, source in members}
        for place in set(folders.values()) - set(runtime.names):
            runtime.add(place, Path(place))

        def losses(texts: Sequence[Text], weights: Mapping[str, float]) -> NDArray[np.float64]:
            return recall(texts, {folders[name]: weight for name, weight in weights.items()})

        return losses


def with_voices(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs, told from the core's side wherever some member of the report was trained beside it."""
    cores = {member.core for pair in pairs if pair.behaviour for member in pair.behaviour.members}
    return [
        replace(pair, voice=next((name for name, _, _ in pair.members if name in cores), None)) for pair in pairs
    ]


def disagreements(pairs: Sequence[Pair]) -> Iterator[str]:
    """Yield where geometry and behaviour order two pairs differently, and the bootstrap intervals leave no doubt.

    Published results and our own show that adapters which overlap less do not always get along better.
    """
    measured = [pair for pair in pairs if pair.behaviour is not None]
    figures: Mapping[str, Callable[[Geometry], float]] = {
        "overlap": lambda geometry: geometry.overlap,
        "|cosine|": lambda geometry: abs(geometry.cosine),
    }
    for one, two in combinations(measured, 2):
        hurt, fine = sorted((one, two), key=_worst, reverse=True)
        if _surely(hurt)[0] <= _surely(fine)[1]:
            continue
        for figure, of in figures.items():
            if of(hurt.geometry) < of(fine.geometry):
                yield (
                    f"{figure} puts {fine.name} ({of(fine.geometry):.3f}) closer than {hurt.name} "
                    f"({of(hurt.geometry):.3f}), yet {hurt.name} loses {_worst(hurt):.0%} and {fine.name} "
                    f"{_worst(fine):.0%}"
                )


def told(member: Kept) -> str:
    """Return one member's figures in words."""
    beside = f"{member.name} beside {', '.join(member.others)}"
    losses = (
        f"loss alone {member.base_alone:.2f} -> {member.alone:.2f}, "
        f"together {member.base_together:.2f} -> {member.together:.2f}, {member.texts} texts"
    )
    if member.kept is None:
        return (
            f"{beside} has nothing to keep: alone it does not better the base on its own held-out texts ({losses})"
        )
    low, high = share(member.low), share(member.high)
    return f"{beside} keeps {share(member.kept)} ({low} to {high}; {losses})"


def share(value: float) -> str:
    """Return a share for a person. Beyond 200 % it says only that the gain alone is too small to divide by."""
    return ">200%" if value > 2 else f"{value:.0%}"


def _roles(members: Sequence[Kept], voice: str | None) -> tuple[Kept, Kept]:
    """The voice that stays and the guest: a guest was trained beside the voice; else the order of the names."""
    first, second = members
    return (second, first) if second.name in (first.core, voice) else (first, second)


def _loses(guest: Kept, host: str) -> str:
    if guest.kept is None:
        return f"{guest.name} has nothing to lose: alone it gains nothing on its held-out texts"
    if guest.lost < 0.005:
        return f"{guest.name} loses nothing when {host} joins"
    return f"{guest.name} loses {guest.lost:.0%} when {host} joins"


def _keeps(voice: Kept) -> str:
    if voice.kept is None:
        return f"{voice.name} has nothing to keep: alone it gains nothing on its held-out texts"
    return f"{voice.name}'s voice keeps {share(voice.kept)}"


def _worst(pair: Pair) -> float:
    return pair.behaviour.worst if pair.behaviour is not None else 0.0


def _surely(pair: Pair) -> tuple[float, float]:
    """The interval of the worst member's loss."""
    members = pair.behaviour.members if pair.behaviour is not None else ()
    worst = max(members, key=lambda member: member.lost)
    return 1 - worst.high, 1 - worst.low
