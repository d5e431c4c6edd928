"""Which replica a blend goes to: always the same few, while none of them carries too much. Pure.

Rendezvous hashing ("highest random weight": Thaler and Ravishankar, Using Name-Based Mappings to Increase Hit
Rates, IEEE/ACM Transactions on Networking 6(1), 1998) ranks the replicas for each blend by a hash of both names:
without one replica, only its own blends move. Bounded loads (Mirrokni, Thorup and Zadimoghaddam, Consistent
Hashing with Bounded Loads, arXiv 1608.01350): a replica that has its share passes on to the blend's next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from math import ceil

SLACK = 1.25
"""How far above the average a replica may be loaded: the paper's c."""
LEAST = 4
"""Streams that any replica may have: when hardly anybody asks, spreading a blend only warms it in more places."""


def ranked(blend: str, replicas: Iterable[str]) -> list[str]:
    """Return the replicas in the order in which the blend with this id prefers them."""
    return sorted(replicas, key=lambda replica: (_weight(blend, replica), replica), reverse=True)


def bound(streams: int, replicas: int) -> int:
    """Return how many streams each of `replicas` may have when `streams` are open, the new one included."""
    return max(LEAST, ceil(SLACK * streams / replicas))


def order(blend: str, loads: Mapping[str, int]) -> list[str]:
    """Return the replicas to try for the blend, best first; `loads` is replica -> streams open there now.

    Those below the bound come first, each group in the blend's own order. Some replica always is below it: the
    average is, before one more stream is placed.
    """
    most = bound(sum(loads.values()) + 1, len(loads)) if loads else 0
    return sorted(ranked(blend, loads), key=lambda replica: loads[replica] >= most)


def _weight(blend: str, replica: str) -> bytes:
    return hashlib.blake2b(f"{replica}\0{blend}".encode(), digest_size=8).digest()
