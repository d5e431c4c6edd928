"""What the wiring tells the canary: which blends, how often, and what PEFT says. Knows no engine's wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from blends.reference import Line as Written
from blends.reference import ReferenceInvalid, read_reference
from router.canary.findings import ENGLISH, RUSSIAN, Limits, Line
from router.canary.proven import Manner, Proven
from router.core.blend import Blend
from router.core.policy import Policies, Policy
from router.core.reachable import reachable
from router.ports import Backend, Provable
from router.replicas import Replicas
from router.wiring.addresses import SUMMING
from router.wiring.settings import SettingsInvalid

_EVERY, _EMBEDDED_EVERY = 300.0, 3600.0
"""Seconds. The engine in this process cannot be started anew with other flags, and shares our cores."""
_EMBEDDED_DELAY = 20.0  # seconds: whoever has just started it wants an answer first
_SLOTS = 2  # of the engine in this process
_WITHOUT_PREFIXES = (ENGLISH, RUSSIAN)
"""For llama.cpp, which is told to keep no prefix of a prompt: a long one would prove nothing more."""


@dataclass(frozen=True, slots=True)
class Proving:
    """How an address wants its engines proved; `manner` None: not at all."""

    manner: Manner | None
    limits: Limits

    @classmethod
    def of(cls, kind: str, options: Mapping[str, str]) -> Proving:
        """Read canary=SECONDS, canary=off and canary_scale=0.05; `kind` is the address up to its first colon.

        Raises ValueError for what cannot be.
        """
        embedded = kind == "embedded"
        limits = Limits(scale=_number(options, "canary_scale", Limits().scale))
        if f"{kind}:".startswith(SUMMING):
            limits = replace(limits, prompts=_WITHOUT_PREFIXES)
        if embedded:
            limits = replace(limits, together=_SLOTS)
        if options.get("canary") == "off":
            return cls(None, limits)
        every = _number(options, "canary", _EMBEDDED_EVERY if embedded else _EVERY)
        return cls(Manner(every, embedded, _EMBEDDED_DELAY if embedded else 0.0, limits), limits)


def blends_of(name: str, policies: Policies) -> dict[Blend, object]:
    """Return every blend that the backend `name` may be asked for, with what it consists of."""
    found: dict[Blend, object] = {}
    for policy in policies.profiles.values():
        if name in policy.backends:
            for blend in reachable(policy):
                found.setdefault(blend, _content(blend, policy))
    return found


def guarded(name: str, drivers: Mapping[str, Backend], proving: Proving, blends: Path | None) -> Backend:
    """Return one backend out of `drivers` that serves only what was proved.

    What shows no token logprobs cannot be proved, and a stand-in has nothing to prove. Raises SettingsInvalid for
    a reference in the folder `blends` that cannot be read.
    """
    if proving.manner is None:
        return Replicas(name, drivers)
    figures = references(blends)
    proven: dict[str, Backend] = {
        each: Proven(each, driver, proving.manner, figures.blends, figures.base)
        if isinstance(driver, Provable)
        else driver
        for each, driver in drivers.items()
    }
    return Replicas(name, proven)


@dataclass(frozen=True, slots=True)
class References:
    """What PEFT says, by served name and for the bare base; both empty where nobody computed it."""

    blends: Mapping[str, Sequence[Line]] = field(default_factory=dict)
    base: Sequence[Line] = ()


def references(folder: Path | None) -> References:
    """Read `reference.json` beside the manifest. Raises SettingsInvalid for a file that cannot be used."""
    try:
        found = None if folder is None else read_reference(folder)
    except ReferenceInvalid as error:
        raise SettingsInvalid(str(error)) from error
    if found is None:
        return References()
    return References({served: _lines(said) for served, said in found.blends.items()}, _lines(found.base))


def _lines(said: Sequence[Written]) -> list[Line]:
    return [Line(line.prompt, line.tokens, line.logprobs) for line in said]


def _content(blend: Blend, policy: Policy) -> object:
    sources = {adapter.name: adapter.source for adapter in policy.adapters}
    merged = policy.merge if len(blend.members) > 1 else ""
    return policy.base, merged, tuple(sorted((sources[name], weight) for name, weight in blend.members))


def _number(options: Mapping[str, str], name: str, usual: float) -> float:
    try:
        value = float(options.get(name, usual))
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        right = "write seconds, canary=300, or canary=off" if name == "canary" else f"write {name}={usual:g}"
        raise ValueError(f"the option {name} is {options[name]!r}; {right}")
    return value
