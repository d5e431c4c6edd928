"""Policies -> what has to be built for engines that serve one adapter per request. Knows no engine and no file."""

from __future__ import annotations

from blends.spec import Spec
from router.core.method import EXACT
from router.core.policy import Policies
from router.core.reachable import reachable


def specs_of(policies: Policies) -> tuple[Spec, ...]:
    """Return the spec of every blend that any tenant or role can reach, each once, fewest members first.

    Two profiles that reach one blend share it; the stricter gate holds for both, as does isolation.
    """
    found: dict[str, Spec] = {}
    for policy in policies.profiles.values():
        for blend in reachable(policy):
            members = tuple((name, weight, policy.adapter(name).source) for name, weight in blend.members)
            method = policy.merge if len(members) > 1 else EXACT
            known = found.get(blend.id)
            gates = [policy.refuse_conflict_above, known.refuse_conflict_above if known else None]
            gate = min((gate for gate in gates if gate is not None), default=None)
            alone = blend.alone or (known is not None and known.alone)
            found[blend.id] = Spec(blend.id, members, policy.base, alone, method, gate)
    return tuple(sorted(found.values(), key=lambda spec: (len(spec.members), spec.members, spec.id)))
