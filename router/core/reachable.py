"""The closure of a policy: every blend that `decide` can ever return. Knows no scores and no engine.

Scores only open gates and rank, weights are written numbers: so this set is finite, and it can be listed,
checked, built ahead for TGI and tested exhaustively.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from math import comb

from router.core.blend import Blend
from router.core.policy import Always, Policy

COUNTED = 10**12


def reachable(policy: Policy) -> tuple[Blend, ...]:
    """Return every reachable blend, sorted by members: fewest first, then by name.

    Raises ValueError when the bare base model or a broken isolation is reachable (`check` says so in words).
    """
    return ordered(policy.blend(names) for names in reachable_names(policy))


def ordered(blends: Iterable[Blend]) -> tuple[Blend, ...]:
    """Return the distinct blends: fewest members first, then by name, then by id."""
    return tuple(sorted(set(blends), key=lambda blend: (len(blend.members), blend.members, blend.id)))


def reachable_names(policy: Policy) -> Iterator[frozenset[str]]:
    """Yield the adapter names of every reachable blend once; an empty set is the bare base model.

    Everything that a gate can open may also be asked for, so the guesses are a part of what may be asked.
    """
    always, joining, isolated = _parts(policy)
    seen = set()
    for size in range(0 if always else 1, min(policy.at_most, len(joining)) + 1):
        for chosen in combinations(sorted(joining), size):
            seen.add(always | frozenset(chosen))
    seen.update(frozenset((name,)) for name in isolated)
    seen.add(always | frozenset(policy.otherwise))
    yield from sorted(seen, key=lambda names: (len(names), sorted(names)))


def closure_size(policy: Policy) -> int:
    """Return an upper bound of the number of reachable blends without listing them (off by one at most).

    It is not counted on beyond COUNTED: the numbers of a policy of thousands would have thousands of digits.
    """
    _, joining, isolated = _parts(policy)
    found = len(isolated)
    for size in range(min(policy.at_most, len(joining)) + 1):
        found += comb(len(joining), size)
        if found > COUNTED:
            break
    return found


def _parts(policy: Policy) -> tuple[frozenset[str], list[str], list[str]]:
    """Split the adapters this caller can reach into always, joining and isolated ones."""
    in_reach = [a for a in policy.adapters if policy.permits(a)]
    return (
        policy.always(),
        [a.name for a in in_reach if not a.alone and not isinstance(a.when, Always)],
        [a.name for a in in_reach if a.alone and not isinstance(a.when, Always)],
    )
