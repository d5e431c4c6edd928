"""A blend: the set of weighted adapters that an engine serves as one. Knows no engine and no file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass


def written(weight: float) -> str:
    """Return the shortest decimal text of a weight that reads back as the same number (0.8, 1.0, -0.25)."""
    return repr(float(weight))


@dataclass(frozen=True, slots=True)
class Blend:
    """A sorted set of (adapter, weight) on a base model, with a content-addressed id.

    `members` is sorted by adapter name and never empty: an empty blend would be the bare base model.
    `id` is `core+physics-<12 hex digits>`: readable names, then SHA-256 over base, names, weights and
    sources. It is free of `,` `=` `@` `:`, which TGI and SGLang split names on.
    """

    members: tuple[tuple[str, float], ...]
    id: str
    alone: bool = False

    @classmethod
    def of(
        cls, base: str, weights: Mapping[str, float], sources: Mapping[str, str], *, alone: bool = False
    ) -> Blend:
        """Build the blend of `weights` (adapter -> weight) with the adapters' `sources` (adapter -> where from).

        Raises ValueError when there is no member, or when `alone` is set with more than one.
        """
        if not weights:
            raise ValueError("a blend needs at least one adapter; none would be the bare base model")
        if alone and len(weights) != 1:
            raise ValueError(f"an isolated blend has exactly one adapter, not {sorted(weights)}")
        members = tuple(sorted((name, float(weight)) for name, weight in weights.items()))
        content = json.dumps([base, [[name, written(weight), sources[name]] for name, weight in members]])
        digest = hashlib.sha256(content.encode()).hexdigest()[:12]
        return cls(members, f"{'+'.join(name for name, _ in members)}-{digest}", alone)

    @property
    def weights(self) -> dict[str, float]:
        """Adapter -> weight, in name order."""
        return dict(self.members)

    def __str__(self) -> str:
        """Return the form used in headers and logs: `core=1.0,physics=0.8`."""
        return ",".join(f"{name}={written(weight)}" for name, weight in self.members)
