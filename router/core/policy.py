"""The policy as values: which adapters exist, what opens their gates, how they combine. Knows no YAML.

A `Policy` is one caller's resolved profile (default document + tenant patch + role patch). `Policies` holds
all of them. Both are frozen; a reload makes new ones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter

from router.core.blend import Blend
from router.core.errors import Forbidden
from router.core.limits import UNLIMITED, Caller, Capacity, Limits
from router.core.method import EXACT


@dataclass(frozen=True, slots=True)
class Always:
    """The adapter is in every decision that is not isolated."""


@dataclass(frozen=True, slots=True)
class WhenLabel:
    """The adapter's gate opens when the score of `label` reaches `at_least`, in (0, 1]."""

    label: str
    at_least: float


@dataclass(frozen=True, slots=True)
class WhenAsked:
    """The adapter speaks only when the caller names it and may do so."""


When = Always | WhenLabel | WhenAsked
_name = attrgetter("name")


@dataclass(frozen=True, slots=True)
class Adapter:
    """One LoRA and its two dials. `weight` is what its update is multiplied with; `source` is where it lies."""

    name: str
    source: str
    when: When
    alone: bool = False
    weight: float = 1.0
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """One resolved profile. `adapters` is sorted by name, so the order of lines in a file cannot matter.

    `at_most`: how many adapters beyond the `always` ones may join. `otherwise`: who joins when no gate
    opened. `merge`: how a blend's members become one update, a canonical text of `method.py`.
    `refuse_conflict_above`: the share of what an adapter knows alone that it may lose in a blend, before the
    blend's build is refused; None means no such gate.
    `may_ask`: the `asked`-only adapters this caller may name; None means all of them.
    `revision`: SHA-256 (hex, 16 digits) of the resolved document without its `limits`: they decide nothing.
    """

    base: str
    adapters: tuple[Adapter, ...]
    at_most: int
    otherwise: tuple[str, ...]
    backends: tuple[str, ...]
    merge: str = EXACT
    refuse_conflict_above: float | None = None
    may_ask: frozenset[str] | None = None
    revision: str = ""
    tenant: str = "default"
    role: str | None = None
    limits: Limits = UNLIMITED

    def adapter(self, name: str) -> Adapter:
        """Return the adapter called `name`; KeyError when there is none."""
        if (found := self.find(name)) is None:
            raise KeyError(name)
        return found

    def find(self, name: str) -> Adapter | None:
        """Return the adapter called `name`, None when there is none."""
        at = bisect_left(self.adapters, name, key=_name)
        return self.adapters[at] if at < len(self.adapters) and self.adapters[at].name == name else None

    @cached_property
    def unasked(self) -> tuple[Adapter, ...]:
        """The adapters that may speak although nobody named them: always, or by a label."""
        return tuple(a for a in self.adapters if not isinstance(a.when, WhenAsked))

    def always(self) -> frozenset[str]:
        """Names of the adapters that speak in every blend which is not isolated."""
        return frozenset(a.name for a in self.unasked if isinstance(a.when, Always))

    def askable(self) -> tuple[str, ...]:
        """Names of the adapters this caller may ask for, sorted."""
        return tuple(a.name for a in self.adapters if self.permits(a))

    def permits(self, adapter: Adapter) -> bool:
        """Say whether this caller may name `adapter`; only `asked` adapters need permission."""
        return not isinstance(adapter.when, WhenAsked) or self.may_ask is None or adapter.name in self.may_ask

    def blend(self, names: frozenset[str]) -> Blend:
        """Return the blend of these adapters with the policy's own weights."""
        # found one by one: a closure has about as many blends as the policy has adapters, or many more
        chosen = [self.adapter(name) for name in names]
        return Blend.of(
            self.base,
            {a.name: a.weight for a in chosen},
            {a.name: a.source for a in chosen},
            alone=any(a.alone for a in chosen),
            method=self.merge,
        )


@dataclass(frozen=True, slots=True)
class Policies:
    """Every profile of one policy file: (tenant, role) -> Policy. ("default", None) is always there.

    `capacity`: what backends take, by name; those that are not in it take the usual.
    """

    profiles: Mapping[Caller, Policy]
    revision: str
    capacity: Mapping[str, Capacity] = field(default_factory=dict)

    def counted(self, tenant: str, role: str | None) -> tuple[tuple[Caller, Limits], ...]:
        """Return who is counted for a request: the tenant, and the role where its limits are others.

        A role's limits lie within its tenant's. Nobody is counted for a caller that the policy does not have.
        """
        policy, of_all = self.profiles.get((tenant, role)), self.profiles.get((tenant, None))
        if policy is None or of_all is None or not (policy.limits or of_all.limits):
            return ()
        own, whole = policy.limits.beside(of_all.limits), of_all.limits
        found: list[tuple[Caller, Limits]] = [((tenant, None), whole)] if whole else []
        if own:
            found.append(((tenant, role), own))
        return tuple(found)

    def profile(self, tenant: str, role: str | None) -> Policy:
        """Return the caller's profile. Raises Forbidden when the keys name a tenant or role the policy lacks."""
        try:
            return self.profiles[tenant, role]
        except KeyError:
            raise Forbidden(
                f"the policy has no profile for tenant {tenant!r} with role {role!r}; the policy file names them "
                "under `tenants` and `roles`",  # and no error shows one tenant the names of the others
                code="unknown_profile",
            ) from None
