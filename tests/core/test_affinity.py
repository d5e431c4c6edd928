"""Rendezvous hashing and bounded loads: what the two papers promise, for any blends, replicas and loads."""

from __future__ import annotations

import hashlib
from collections import Counter
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from router.core.affinity import LEAST, SLACK, bound, order, ranked

NAMES = st.sets(st.text("abcdefgh0123456789.:-", min_size=1, max_size=12), min_size=1, max_size=12)
BLENDS = st.text("abcdefgh+-0123456789", min_size=1, max_size=20)


def test_the_order_is_that_of_the_hashes() -> None:
    """Any process in any language comes to the same order: two routers keep the same replicas warm."""
    names = ["h1:80", "h2:80", "h3:80"]
    by_hand = {name: hashlib.blake2b(name.encode() + b"\0core-1", digest_size=8).hexdigest() for name in names}
    assert ranked("core-1", names) == sorted(names, key=lambda name: by_hand[name], reverse=True)


@given(BLENDS, NAMES)
def test_the_order_does_not_depend_on_the_order_of_the_names(blend: str, names: set[str]) -> None:
    assert ranked(blend, sorted(names)) == ranked(blend, sorted(names, reverse=True))


@given(st.lists(BLENDS, min_size=1, max_size=30, unique=True), NAMES, st.data())
def test_without_one_replica_only_its_own_blends_move(
    blends: list[str], names: set[str], data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(sorted(names)))
    rest = names - {gone}
    for blend in blends:
        before = ranked(blend, names)
        assert ranked(blend, rest) == [name for name in before if name != gone]  # the others keep their order
        if rest and before[0] != gone:
            assert order(blend, dict.fromkeys(rest, 0))[0] == order(blend, dict.fromkeys(names, 0))[0]


@given(st.lists(st.tuples(BLENDS, st.booleans()), max_size=120), NAMES)
def test_no_replica_is_ever_filled_above_the_bound(asked: list[tuple[str, bool]], names: set[str]) -> None:
    """Streams come and go; each is placed where there was room, and there always was."""
    loads = dict.fromkeys(names, 0)
    open_: list[str] = []
    for blend, ends_one in asked:
        chosen = order(blend, loads)[0]
        loads[chosen] += 1
        open_.append(chosen)
        assert loads[chosen] <= max(LEAST, ceil(SLACK * sum(loads.values()) / len(names)))
        if ends_one:
            loads[open_.pop(0)] -= 1


@given(BLENDS, st.dictionaries(st.text("abcdef", min_size=1, max_size=6), st.integers(0, 60), min_size=1))
def test_whoever_has_room_comes_first_and_nobody_is_left_out(blend: str, loads: dict[str, int]) -> None:
    most = bound(sum(loads.values()) + 1, len(loads))
    full = [loads[name] >= most for name in order(blend, loads)]
    assert full == sorted(full)
    assert not full[0]
    assert sorted(order(blend, loads)) == sorted(loads)


@given(BLENDS, NAMES, st.integers(1, 60))
def test_one_blend_stays_on_few_replicas(blend: str, names: set[str], streams: int) -> None:
    """All open streams are of one blend: the first replicas of its own order."""
    loads = dict.fromkeys(names, 0)
    for _ in range(streams):
        loads[order(blend, loads)[0]] += 1
    used = [name for name in ranked(blend, names) if loads[name]]
    assert used == ranked(blend, names)[: len(used)]
    assert len(used) <= ceil(streams / LEAST)  # the next one is warmed only when those before have their share


def test_many_blends_spread_evenly() -> None:
    """10,000 blends on 5 replicas: a fair hash gives each 2,000 +- 160 (four standard deviations)."""
    names = [f"h{number}:80" for number in range(5)]
    firsts = Counter(ranked(f"core+d{number}-{number:012x}", names)[0] for number in range(10_000))
    assert all(abs(firsts[name] - 2_000) < 160 for name in names)
