"""Every engine of a policy, asked once whether its blends act. Serves nothing and keeps nothing open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from router.canary.findings import Finding, Limits, Subject
from router.canary.proof import prove_all
from router.core.blend import Blend
from router.core.errors import BackendFailed, BlendUnavailable
from router.policy_file import load_policies
from router.ports import Backend, Provable
from router.wiring.addresses import addresses
from router.wiring.backends import open_drivers, proving
from router.wiring.proving import References, blends_of, references
from router.wiring.settings import Settings


@dataclass(frozen=True, slots=True)
class Examined:
    """What one engine showed when it was asked once: `missing` are blends that it does not hold.

    `trouble` says why it could not be asked, or not to the end; `note` why there was nothing to ask.
    """

    engine: str
    findings: tuple[Finding, ...] = ()
    missing: tuple[str, ...] = ()
    noise: float = 0.0
    calls: int = 0
    seconds: float = 0.0
    trouble: str | None = None
    note: str | None = None


async def examine(settings: Settings, say: Callable[[str], None]) -> AsyncIterator[Examined]:
    """Yield what each engine of the policy shows; `say` hears what is being done.

    Raises PolicyInvalid or SettingsInvalid for what cannot be opened.
    """
    policies = await asyncio.to_thread(load_policies, settings.policy)
    figures = references(settings.blends)
    for name, address in addresses(policies, settings).items():
        limits, blends = proving(address).limits, blends_of(name, policies)
        drivers = await open_drivers(address, policies, settings)
        try:
            for each, driver in drivers.items():
                say(f"{each}: asking for {len(blends)} blends ...")
                yield await _examined(each, driver, blends, limits, figures)
        finally:
            await asyncio.gather(*(driver.aclose() for driver in drivers.values()), return_exceptions=True)


async def _examined(
    name: str, engine: Backend, blends: Mapping[Blend, object], limits: Limits, figures: References
) -> Examined:
    try:
        held = await engine.inventory()
        if held.stand_in:
            return Examined(name, note="it stands in: it has none of our adapters, and says so in every answer")
        if not isinstance(engine, Provable):
            return Examined(name, note="it shows no token logprobs, so its blends cannot be proved")
        missing = tuple(blend.id for blend in blends if not held.serves(blend))
        subjects = [
            Subject.of(blend, held, content, figures.blends)
            for blend, content in blends.items()
            if held.serves(blend)
        ]
        found = await prove_all(engine.probe, subjects, limits, figures.base)
    except (BackendFailed, BlendUnavailable) as error:
        return Examined(name, trouble=error.message)
    findings = tuple(found.findings[each.blend.id] for each in subjects)
    return Examined(name, findings, missing, found.noise, found.calls, found.seconds)
