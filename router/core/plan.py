"""Decision -> ordered attempts. Pure: it is told the inventories and never asks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router.core.blend import Blend
from router.core.errors import BlendUnavailable
from router.core.reply import Inventory


@dataclass(frozen=True, slots=True)
class Plan:
    """Backends to try in order, all for the *same* blend: falling back never changes who speaks."""

    blend: Blend
    attempts: tuple[str, ...]


def plan(blend: Blend, backends: Sequence[str], inventories: Mapping[str, Inventory]) -> Plan:
    """Keep the policy's backends, in order, that can serve exactly `blend`; exact ones before stand-ins.

    A backend missing from `inventories` is down. Raises BlendUnavailable, with the blend's name, when none is
    left: an engine that does not know a blend answers from the bare base model, so it is never sent one.
    """
    serving = [name for name in backends if name in inventories and inventories[name].serves(blend)]
    if not serving:
        known = {name: "down" if name not in inventories else "does not hold it" for name in backends}
        raise BlendUnavailable(
            f"no backend can serve the blend {blend.id} ({blend}): "
            + ", ".join(f"{name} {state}" for name, state in known.items()),
            retry_after=5.0 if "down" in known.values() else None,
        )
    serving.sort(key=lambda name: inventories[name].stand_in)  # stable: the policy's order otherwise
    return Plan(blend, tuple(serving))
