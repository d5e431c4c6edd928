"""What the wiring tells the canary: which blends, how often, and what PEFT says. Knows no engine's wire."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from blends.reference import ReferenceInvalid, read_reference
from router.canary.findings import ENGLISH, PREFIX, RUSSIAN, Limits, Line
from router.canary.proven import Manner, Proven
from router.core.blend import Blend
from router.core.policy import Policies, Policy
from router.core.reachable import reachable
from router.ports import Backend, Provable
from router.replicas import Replicas
from router.wiring.settings import SettingsInvalid

OPTIONS = ("canary", "canary_scale")
_EMBEDDED = Limits(prompts=(ENGLISH, RUSSIAN, PREFIX[:160]), together=2)
"""For the engine in this process: as many at once as it has slots, and a prefix that costs a second, not ten."""
_EMBEDDED_DELAY = 20.0  # seconds: whoever has just started it wants an answer first


def blends_of(name: str, policies: Policies) -> dict[Blend, object]:
    """Return every blend that the backend `name` may be asked for, with what it consists of."""
    found: dict[Blend, object] = {}
    for policy in policies.profiles.values():
        if name in policy.backends:
            for blend in reachable(policy):
                found.setdefault(blend, _content(blend, policy))
    return found


def guarded(
    name: str, drivers: Mapping[str, Backend], options: Mapping[str, str], blends: Path | None, *, embedded: bool
) -> Backend:
    """Return one backend out of `drivers` that serves only what was proved.

    `options` are the address's: canary=SECONDS or canary=off, and canary_scale, the tolerance towards PEFT. Raises
    ValueError for an option that cannot be, SettingsInvalid for a reference that cannot be read.
    """
    every = options.get("canary", "300")
    if every == "off":
        return Replicas(name, drivers)
    seconds, scale = _number("canary", every), _number("canary_scale", options.get("canary_scale", "0.05"))
    limits = _EMBEDDED if embedded else Limits(scale=scale)
    manner = Manner(seconds, at_once=embedded, delay=_EMBEDDED_DELAY if embedded else 0.0, limits=limits)
    reference, base = references(blends)
    proven: dict[str, Backend] = {
        each: Proven(each, driver, manner, reference, base) if isinstance(driver, Provable) else driver
        for each, driver in drivers.items()
    }
    return Replicas(name, proven)


def references(blends: Path | None) -> tuple[dict[str, list[Line]], list[Line]]:
    """Return what PEFT says, by served name and for the base. Raises SettingsInvalid for an unusable file."""
    try:
        found = None if blends is None else read_reference(blends)
    except ReferenceInvalid as error:
        raise SettingsInvalid(str(error)) from error
    if found is None:
        return {}, []
    lines = {
        served: [Line(line.prompt, line.tokens, line.logprobs) for line in said]
        for served, said in found.blends.items()
    }
    return lines, [Line(line.prompt, line.tokens, line.logprobs) for line in found.base]


def _content(blend: Blend, policy: Policy) -> object:
    sources = {adapter.name: adapter.source for adapter in policy.adapters}
    merged = policy.merge if len(blend.members) > 1 else ""
    return policy.base, merged, tuple(sorted((sources[name], weight) for name, weight in blend.members))


def _number(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        right = "write seconds, canary=300, or canary=off" if option == "canary" else f"write {option}=0.05"
        raise ValueError(f"the option {option} is {text!r}; {right}")
    return value
