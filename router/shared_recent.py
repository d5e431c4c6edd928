"""Recent decisions that every worker and replica can tell: out of this process, or out of the cache they share.

A decision that was taken lies there for an hour under a digest of its id, tenant and role, sealed for them. The
exemplars around a prompt are told by their number in the classifier, and not at all where one of them may be the
prompt itself: no text lies there, and nothing that stands for a prompt's.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from router.core.decision import Decision
from router.core.facts import CacheFailed, Fact
from router.core.key import seal, unseal
from router.core.policy import Policy
from router.core.scores import Neighbour
from router.ports import CacheUnavailable, SharedCache
from router.recent import KEPT, Recent, Taken

SHARED_SECONDS = 3600.0
TOGETHER = 0.01  # seconds in which decisions gather, to go to the cache in one call
ON_ITS_WAY = (0.0, 0.05, 0.2, 0.75)  # seconds between look-ups: one that a busy process just took may come late
WAITING = 1000  # decisions that wait for the cache; beyond, the oldest is kept here alone
SAME = 0.99  # cosine from which an exemplar says what the prompt was
POLICIES = 256  # that decisions are explained by: a decision of a policy that is forgotten here cannot be told
_PURPOSE = b"agoge decision taken, version 1"


class Exemplars(Protocol):
    """The classifier's exemplars by number."""

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints number the same exemplars."""
        ...

    def number_of(self, text: str, label: str) -> int | None:
        """Return an exemplar's number, None where it is none."""
        ...

    def exemplar(self, number: int) -> tuple[str, str] | None:
        """Return (text, label) of an exemplar, None where there is no such number."""
        ...


class SharedRecent(Recent):
    """Remembers like `Recent`, and hands every decision to the others in the background."""

    def __init__(
        self,
        cache: SharedCache,
        secret: bytes,
        exemplars: Exemplars,
        in_force: Callable[[str, str | None], Policy | None],
        record: Callable[[Fact], None],
        kept: int = KEPT,
    ) -> None:
        """`in_force` tells a caller's policy now; `record` hears when the cache fails."""
        super().__init__(kept)
        self._cache, self._secret, self._exemplars = cache, secret, exemplars
        self._in_force, self._record = in_force, record
        self._policies: OrderedDict[str, Policy] = OrderedDict()
        self._waiting: OrderedDict[bytes, bytes] = OrderedDict()
        self._storing: asyncio.Task[None] | None = None

    def keep(self, taken: Taken) -> None:
        """Remember one decision, and hand it on together with those that wait already."""
        super().keep(taken)
        self._know(taken.policy)
        key = self._key(taken.id, taken.decision.tenant, taken.decision.role)
        self._waiting[key] = seal(self._secret, key, self._written(taken))
        if len(self._waiting) > WAITING:
            self._waiting.popitem(last=False)
        if self._storing is None or self._storing.done():
            self._storing = asyncio.create_task(self._store())

    async def look_up(self, id: str, tenant: str, role: str | None) -> Taken | None:
        """Return the decision, whoever took it; None as in `find`.

        What the cache does not hold is asked for again, for a second: it may be on its way.
        """
        if (taken := self.find(id, tenant, role)) is not None:
            return taken
        key = self._key(id, tenant, role)
        try:
            for pause in ON_ITS_WAY:
                await asyncio.sleep(pause)
                (sealed,) = await self._cache.get_many((key,))
                if sealed is not None:
                    return self._read(id, unseal(self._secret, key, sealed), tenant, role)
        except CacheUnavailable as error:
            self._record(CacheFailed("get", str(error)))
        except ValueError as error:  # bytes that are not ours
            self._record(CacheFailed("get", f"not a decision that was taken: {error}"))
        return None

    async def aclose(self) -> None:
        """Hand on what still waits."""
        if self._storing is not None:
            await self._storing

    async def _store(self) -> None:
        while self._waiting:
            await asyncio.sleep(TOGETHER)
            now, self._waiting = self._waiting, OrderedDict()
            try:
                await self._cache.put_many(now, SHARED_SECONDS)
            except CacheUnavailable as error:
                self._record(CacheFailed("put", str(error)))

    def _key(self, id: str, tenant: str, role: str | None) -> bytes:
        text = json.dumps([id, tenant, role]).encode()  # JSON: no part can run into its neighbour
        return hmac.digest(self._secret, _PURPOSE + text, "sha256")

    def _know(self, policy: Policy) -> None:
        self._policies[policy.revision] = policy
        if len(self._policies) > POLICIES:
            self._policies.popitem(last=False)

    def _written(self, taken: Taken) -> bytes:
        near = None
        if taken.nearest is not None and all(each.similarity < SAME for each in taken.nearest):
            numbered = [(self._exemplars.number_of(each.text, each.label), each) for each in taken.nearest]
            near = [(number, each.similarity) for number, each in numbered if number is not None]
        parts = (taken.decision.to_json(), taken.asked_by, taken.cache, near)
        return json.dumps(parts, separators=(",", ":")).encode()

    def _read(self, id: str, value: bytes, tenant: str, role: str | None) -> Taken | None:
        """Raises ValueError for what is no decision; None where its policy is not known here any more."""
        raw: Any = json.loads(value)
        if not isinstance(raw, list) or len(raw) != 4:
            raise ValueError("another form")
        decision, asked_by, cache, near = Decision.from_json(raw[0]), *raw[1:]
        if (now := self._in_force(tenant, role)) is not None:
            self._know(now)
        policy = self._policies.get(decision.policy)
        if policy is None:
            return None
        nearest = None
        if near is not None and decision.classifier == self._exemplars.fingerprint:
            found = [(self._exemplars.exemplar(number), similarity) for number, similarity in near]
            nearest = tuple(Neighbour(*each, similarity) for each, similarity in found if each is not None)
        return Taken(id, decision, policy, asked_by, cache, nearest)
