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
        known = {name: _state(blend, inventories.get(name)) for name in backends}
        raise BlendUnavailable(
            f"no backend can serve the blend {blend.id} ({blend}): "
            + ", ".join(f"{name} {state}" for name, state in known.items()),
            retry_after=5.0 if any(state != _WITHOUT for state in known.values()) else None,
        )
    serving.sort(key=lambda name: inventories[name].stand_in)  # stable: the policy's order otherwise
    return Plan(blend, tuple(serving))


_WITHOUT = "does not hold it"


def _state(blend: Blend, inventory: Inventory | None) -> str:
    """Say why an engine cannot be asked. What is down or withdrawn may be served again, what is not held never."""
    if inventory is None:
        return "down"
    why = inventory.withdrawn.get(blend.id)
    return _WITHOUT if why is None else f"must not be asked ({why})"
