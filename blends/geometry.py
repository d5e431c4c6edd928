"""How two updates lie to each other, module by module. Knows numpy; knows no base model, no text and no policy.

An update is `weight * scale * B @ A`, as wide as the base's matrix; nothing of that width squared is ever made.
With the thin QR of B and of A's transpose, B = Qb Rb and A = (Qa Ra)', everything asked for here is a matter of
rank-sized matrices: the norm is that of Rb Ra', the inner product is the sum of (B1' B2) * (A1 A2'), and the
spaces are spanned by Qb and Qa, turned by the singular vectors of Rb Ra'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blends.adapter import Factors, LoraAdapter

_NOTHING = 1e-6  # singular values below this share of the largest one span nothing; half precision ends at 1e-4


@dataclass(frozen=True, slots=True)
class ModulePair:
    """Two updates of one module.

    `norms` are Frobenius norms with scale and weight. `cosine` of the updates is in [-1, 1]. `columns` and `rows`
    are overlaps of what the updates write into and read from: the mean squared cosine of the principal angles, 0
    for orthogonal spaces, 1 where the smaller lies within the larger. `chance` is what two random pairs of spaces
    of these dimensions would overlap by, columns and rows averaged.
    """

    layer: int
    block: str
    module: str
    norms: tuple[float, float]
    cosine: float
    columns: float
    rows: float
    chance: float

    @property
    def ratio(self) -> float:
        """The second's norm relative to the first's."""
        return self.norms[1] / self.norms[0]

    @property
    def overlap(self) -> float:
        """Columns and rows, averaged."""
        return (self.columns + self.rows) / 2


@dataclass(frozen=True, slots=True)
class Geometry:
    """The modules that both adapters change; `apart` counts those that only one of them changes.

    `norms` are those of the whole updates, modules that only one changes included.
    """

    modules: tuple[ModulePair, ...]
    norms: tuple[float, float]
    apart: int

    @property
    def cosine(self) -> float:
        """Of the two whole updates, each seen as one long vector."""
        inner = sum(each.cosine * each.norms[0] * each.norms[1] for each in self.modules)
        return inner / (self.norms[0] * self.norms[1])

    @property
    def overlap(self) -> float:
        """Mean over the modules, each counted with the product of its norms; 0 when no module is common."""
        return self._mean([each.overlap for each in self.modules])

    @property
    def chance(self) -> float:
        """What `overlap` would be for random spaces of the same dimensions."""
        return self._mean([each.chance for each in self.modules])

    def _mean(self, values: list[float]) -> float:
        sizes = [each.norms[0] * each.norms[1] for each in self.modules]
        return float(np.average(values, weights=sizes)) if sum(sizes) else 0.0


def compare(first: LoraAdapter, second: LoraAdapter, weights: tuple[float, float] = (1.0, 1.0)) -> Geometry:
    """Compare two adapters of one base at their weights in a blend. An update of a module that is zero is none."""
    updates = [
        {factors.key: update for factors in adapter.factors if (update := _update(factors, weight)).norm > 0}
        for adapter, weight in ((first, weights[0]), (second, weights[1]))
    ]
    common = sorted(updates[0].keys() & updates[1].keys(), key=lambda key: (key[2], key[0], key[1]))
    pairs = tuple(_pair(key, updates[0][key], updates[1][key]) for key in common)
    norms = [float(np.sqrt(sum(update.norm**2 for update in each.values()))) for each in updates]
    return Geometry(pairs, (norms[0], norms[1]), len(updates[0].keys() ^ updates[1].keys()))


@dataclass(frozen=True, slots=True)
class _Update:
    """Factors in float64 with scale and weight inside B, and orthonormal bases of the two spaces."""

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    norm: float
    columns: NDArray[np.float64]
    rows: NDArray[np.float64]


def _update(factors: Factors, weight: float) -> _Update:
    a = np.asarray(factors.a, np.float64)
    b = np.asarray(factors.b, np.float64) * (factors.scale * weight)
    (qb, rb), (qa, ra) = np.linalg.qr(b), np.linalg.qr(a.T)
    left, sizes, right = np.linalg.svd(rb @ ra.T)
    count = int((sizes > _NOTHING * sizes[0]).sum()) if sizes[0] > 0 else 0
    return _Update(a, b, float(np.linalg.norm(sizes)), qb @ left[:, :count], qa @ right[:count].T)


def _pair(key: tuple[str, str, int], one: _Update, two: _Update) -> ModulePair:
    block, module, layer = key
    inner = float(((one.b.T @ two.b) * (one.a @ two.a.T)).sum())
    larger = max(one.columns.shape[1], two.columns.shape[1])
    return ModulePair(
        layer=layer,
        block=block,
        module=module,
        norms=(one.norm, two.norm),
        cosine=inner / (one.norm * two.norm),
        columns=_overlap(one.columns, two.columns),
        rows=_overlap(one.rows, two.rows),
        chance=larger * (1 / len(one.b) + 1 / one.a.shape[1]) / 2,
    )


def _overlap(one: NDArray[Any], two: NDArray[Any]) -> float:
    """Mean squared cosine of the principal angles between two spaces with orthonormal columns."""
    return float(np.square(one.T @ two).sum() / min(one.shape[1], two.shape[1]))
