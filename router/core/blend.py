"""A blend: the set of weighted adapters that an engine serves as one. Knows no engine and no file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from router.core.method import EXACT


def written(weight: float) -> str:
    """Return the shortest decimal text of a weight that reads back as the same number (0.8, 1.0, -0.25)."""
    return repr(float(weight))


@dataclass(frozen=True, slots=True)
class Blend:
    """A sorted set of (adapter, weight) on a base model, with a content-addressed id.

    `members` is sorted by adapter name and never empty: an empty blend would be the bare base model.
    `id` is `core+physics-<12 hex digits>`: readable names, then SHA-256 over base, names, weights and
    sources, and the method when it is not the exact sum. It is free of `,` `=` `@` `:`, which TGI and SGLang
    split names on.
    """

    members: tuple[tuple[str, float], ...]
    id: str
    alone: bool = False

    @classmethod
    def of(
        cls,
        base: str,
        weights: Mapping[str, float],
        sources: Mapping[str, str],
        *,
        alone: bool = False,
        method: str = EXACT,
    ) -> Blend:
        """Build the blend of `weights` (adapter -> weight) with the adapters' `sources` (adapter -> where from).

        `method` is a canonical text of `method.py`; it changes the id when something is lost, because then another
        update is served. One adapter alone is always exact: there is nothing to merge.
        Raises ValueError when there is no member, or when `alone` is set with more than one.
        """
        if not weights:
            raise ValueError("a blend needs at least one adapter; none would be the bare base model")
        if alone and len(weights) != 1:
            raise ValueError(f"an isolated blend has exactly one adapter, not {sorted(weights)}")
        members = tuple(sorted((name, float(weight)) for name, weight in weights.items()))
        content: list[object] = [base, [[name, written(weight), sources[name]] for name, weight in members]]
        if method != EXACT and len(members) > 1:
            content.append(method)
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
        return cls(members, f"{'+'.join(name for name, _ in members)}-{digest}", alone)

    @property
    def weights(self) -> dict[str, float]:
        """Adapter -> weight, in name order."""
        return dict(self.members)

    def __str__(self) -> str:
        """Return the form used in headers and logs: `core=1.0,physics=0.8`."""
        return ",".join(f"{name}={written(weight)}" for name, weight in self.members)
