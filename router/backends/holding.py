"""What an engine holds -> what it may be sent. Knows names only: no engine, no file and no manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from router.core.blend import Blend
from router.core.errors import BlendUnavailable
from router.core.reply import Inventory

Published = Mapping[str, str]
"""Blend id -> the content-addressed name it was built under."""


def holding(held: Iterable[str], published: Published | None) -> Inventory:
    """Return the inventory of an engine that holds the adapters `held`.

    With `published` only blends that were built and are really held count, each under the name of its content: a
    bare `core` on the engine may be last month's. Without it the engine's own names are taken as they are.
    """
    names = frozenset(held)
    if published is None:
        return Inventory(names=names)
    return Inventory(published={blend: name for blend, name in published.items() if name in names})


def served_name(backend: str, inventory: Inventory, blend: Blend) -> str:
    """Return the engine's name of exactly `blend`. Raises BlendUnavailable: then nothing may be sent."""
    served = inventory.served_name(blend)
    if served is None:
        raise BlendUnavailable(
            f"{backend} does not hold the blend {blend.id} ({blend}); nothing was sent: an engine may answer "
            "an unknown name from the bare base model"
        )
    return served
