"""reachable: exactly the blends that decide can return, no more and no fewer."""

from __future__ import annotations

from itertools import chain, combinations, product

import pytest

from router.core.decide import decide
from router.core.errors import Refused
from router.core.policy import Adapter, Policy, WhenLabel
from router.core.reachable import closure_size, reachable
from router.core.scores import Scores
from tests.core.profiles import ACADEMIC, CORE, DRAFT, LAW, PHYSICS, SPORT, TAX, policy


def test_the_closure_of_a_small_policy_by_hand() -> None:
    blends = reachable(policy(CORE, PHYSICS, SPORT, ACADEMIC))
    assert [str(blend) for blend in blends] == [
        "academic=1.0",
        "core=1.0",
        "core=1.0,physics=0.8",
        "core=1.0,sport=0.7",
        "core=1.0,physics=0.8,sport=0.7",
    ]
    assert [blend.alone for blend in blends] == [True, False, False, False, False]


POLICIES = [
    policy(CORE, PHYSICS, SPORT, LAW, TAX, DRAFT, ACADEMIC),
    policy(CORE, PHYSICS, SPORT, LAW, DRAFT, ACADEMIC, at_most=1, may_ask=frozenset()),
    policy(CORE, PHYSICS, SPORT, DRAFT, ACADEMIC, may_ask=frozenset({"draft"}), otherwise=("sport",)),
    policy(PHYSICS, SPORT, LAW, otherwise=("physics", "sport"), at_most=3),
    policy(PHYSICS, LAW, otherwise=("physics",)),
    policy(CORE),
]


@pytest.mark.parametrize("profile", POLICIES, ids=lambda p: "+".join(a.name for a in p.adapters))
def test_every_ask_and_every_score_together_reach_exactly_the_closure(profile: Policy) -> None:
    names = [adapter.name for adapter in profile.adapters]
    reached = set()
    for asked in chain.from_iterable(combinations(names, size) for size in range(1, len(names) + 1)):
        try:
            reached.add(decide(profile, Scores(), frozenset(asked)).blend)
        except Refused:
            continue
    labels = sorted(a.when.label for a in profile.adapters if isinstance(a.when, WhenLabel))
    for values in product((0.0, 0.7, 0.9), repeat=len(labels)):
        reached.add(decide(profile, Scores(dict(zip(labels, values, strict=True))), None).blend)
    assert reached == set(reachable(profile))
    assert len(reached) <= closure_size(profile) <= len(reached) + 1


def test_the_list_is_the_same_every_time_and_sorted_by_size() -> None:
    blends = reachable(POLICIES[0])
    assert blends == reachable(POLICIES[0])
    assert [len(blend.members) for blend in blends] == sorted(len(blend.members) for blend in blends)


def test_the_size_is_known_without_listing() -> None:
    """1 + 30 + C(30, 2) + ... + C(30, 15), far too many to list."""
    many = [Adapter(f"d{i:02}", f"./{i}", WhenLabel(f"l{i}", 0.5)) for i in range(30)]
    assert closure_size(policy(CORE, *many, at_most=15)) == 614_429_672


def test_a_bare_base_cannot_be_listed() -> None:
    with pytest.raises(ValueError, match="bare base model"):
        reachable(policy(PHYSICS))
