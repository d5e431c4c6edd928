"""The last decisions of this process, by id: what `GET /v1/decisions/{id}` explains.

Bounded and in memory; `shared_recent` adds those of other processes. Holds no prompt text; knows no HTTP and no
classifier.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from router.core.decision import Decision
from router.core.policy import Policy
from router.core.scores import Neighbour

KEPT = 2000  # 2.3 KB each with 14 labels and four adapters: under 5 MB


@dataclass(frozen=True, slots=True)
class Taken:
    """A decision with what explains it later. `nearest` is None where the exemplars were not looked at."""

    id: str
    decision: Decision
    policy: Policy
    asked_by: str | None
    cache: Literal["hit", "miss"]
    nearest: tuple[Neighbour, ...] | None = None


class Recent:
    """Remembers the last `kept` decisions and forgets the oldest. One event loop, no locks."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._taken: OrderedDict[str, Taken] = OrderedDict()

    def keep(self, taken: Taken) -> None:
        """Remember one decision."""
        self._taken[taken.id] = taken
        while len(self._taken) > self._kept:
            self._taken.popitem(last=False)

    def find(self, id: str, tenant: str, role: str | None) -> Taken | None:
        """Return the decision; None when it is not remembered, or was another caller's: nobody can tell which."""
        taken = self._taken.get(id)
        if taken is None or (taken.decision.tenant, taken.decision.role) != (tenant, role):
            return None
        return taken

    async def look_up(self, id: str, tenant: str, role: str | None) -> Taken | None:
        """Return the decision wherever it was taken, as far as this memory reaches: here, in this process."""
        return self.find(id, tenant, role)

    async def aclose(self) -> None:
        """Nothing is under way."""
