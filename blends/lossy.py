"""The merges that lose something, for those who ask for one by name: truncated SVD, TIES and DARE.

    svd    the best approximation of the exact sum at a lower rank (Eckart and Young, 1936)
    ties   trim each member, elect a sign per entry, average those that agree (Yadav et al., arXiv:2306.01708)
    dare   drop entries of each member at random, rescale the rest (Yu et al., arXiv:2311.03099)

TIES and DARE work on the members' full updates, one module at a time, and their result is cut to a LoRA again.
What is lost is measured on the written file by `verify.proved` and stands in the manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from blends.adapter import Factors
from blends.method import Method

Parts = Sequence[tuple[Factors, float]]
Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


def approximated(parts: Parts, widths: tuple[int, int], method: Method) -> Pair:
    """Return (A, B) of one module, of rank `method.rank` at most. `widths` are (inputs, outputs)."""
    rank = min(method.rank or 0, *widths)
    if not parts:
        return np.zeros((0, widths[0]), np.float32), np.zeros((widths[1], 0), np.float32)
    if method.name == "svd":
        return truncated(parts, rank)
    density = method.density or 1.0
    updates = [_update(factors, weight) for factors, weight in parts]
    if method.name == "ties":
        return _cut(ties(updates, density), rank)
    seeds = [_seed(factors, method.seed or 0) for factors, _ in parts]
    return _cut(dare(updates, density, seeds), rank)


def truncated(parts: Parts, rank: int) -> Pair:
    """Return the best factors of rank `rank` of the exact sum: QR of the members' factors, then a small SVD."""
    a = np.concatenate([factors.a.astype(np.float64) for factors, _ in parts], axis=0)
    b = np.concatenate([factors.b.astype(np.float64) * (w * factors.scale) for factors, w in parts], axis=1)
    left, b_small = np.linalg.qr(b)
    right, a_small = np.linalg.qr(a.T)
    u, values, v = np.linalg.svd(b_small @ a_small.T)
    root = np.sqrt(values[:rank])
    return (root[:, None] * (v[:rank] @ right.T)).astype(np.float32), ((left @ u[:, :rank]) * root).astype(
        np.float32
    )


def ties(updates: Sequence[NDArray[np.float32]], density: float) -> NDArray[np.float32]:
    """Trim each update to its largest `density` share, elect the sign of the summed mass, sum what agrees with it.

    The paper averages what agrees and scales by lambda; with the policy's weights in the updates the sum is the
    reading in which one member alone comes out as itself.
    """
    trimmed = []
    for update in updates:
        kept = max(1, round(density * update.size))
        least = np.partition(np.abs(update), update.size - kept, axis=None)[update.size - kept]
        trimmed.append(np.where(np.abs(update) >= least, update, 0))
    sign = np.sign(np.sum(trimmed, axis=0))
    merged: NDArray[np.float32] = np.sum([np.where(np.sign(part) == sign, part, 0) for part in trimmed], axis=0)
    return merged


def dare(updates: Sequence[NDArray[np.float32]], density: float, seeds: Sequence[int]) -> NDArray[np.float32]:
    """Keep each entry of each update with probability `density`, divided by it; return the sum."""
    merged = np.zeros_like(updates[0])
    for update, seed in zip(updates, seeds, strict=True):
        kept = np.random.default_rng(seed).random(update.shape, dtype=np.float32) < density
        merged += np.where(kept, update / np.float32(density), 0)
    return merged


def _update(factors: Factors, weight: float) -> NDArray[np.float32]:
    product = (factors.b.astype(np.float32) * np.float32(weight * factors.scale)) @ factors.a.astype(np.float32)
    return product.astype(np.float32)


def _seed(factors: Factors, seed: int) -> int:
    """Return a seed of this module's own: the same draw in every layer would drop the same entries everywhere."""
    content = f"{seed} {factors.stored_a.file.parent.name} {factors.key}".encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


def _cut(update: NDArray[np.float32], rank: int) -> Pair:
    """Return factors of rank `rank` for a full update (outputs, inputs)."""
    from sklearn.utils.extmath import randomized_svd

    u, values, v = randomized_svd(update, rank, n_iter=6, random_state=0)
    root = np.sqrt(values)
    return (root[:, None] * v).astype(np.float32), (u * root).astype(np.float32)
