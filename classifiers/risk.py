"""How often something is wrong, bounded from a count: exact, for any number of rows. Knows numbers only.

Of `routed` independent rows `wrong` were wrong, so `wrong` is binomial, and no approximation is needed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def upper_bound(wrong: ArrayLike, routed: ArrayLike, confidence: float) -> NDArray[np.float64]:
    """The largest risk in [0, 1] that the counts do not speak against; 1 where nothing was routed.

    The one-sided bound of Clopper and Pearson 1934, "The Use of Confidence or Fiducial Limits Illustrated in the
    Case of the Binomial" (Biometrika 26): it lies at or under `error` exactly when `p_value(..., error)` is at
    most 1 - `confidence`. Counts broadcast.
    """
    from scipy.special import betaincinv  # not at the top: no server needs scipy

    k, n = np.asarray(wrong, dtype=np.float64), np.asarray(routed, dtype=np.float64)
    bound: NDArray[np.float64] = np.where(k < n, betaincinv(k + 1, np.maximum(n - k, 1), confidence), 1.0)
    return bound


def p_value(wrong: ArrayLike, routed: ArrayLike, error: ArrayLike) -> NDArray[np.float64]:
    """P(Bin(routed, error) <= wrong): how likely so few wrong rows are if the risk were `error` or more.

    Arguments broadcast.
    """
    from scipy.special import betainc

    k, n = np.asarray(wrong, dtype=np.float64), np.asarray(routed, dtype=np.float64)
    # the tail as an incomplete beta function; fewer than none is impossible
    tail = betainc(np.maximum(n - k, 1), np.maximum(k, 0) + 1, 1 - np.asarray(error, dtype=np.float64))
    whole: NDArray[np.float64] = np.where(k < 0, 0.0, np.where(k < n, tail, 1.0))
    return whole


def most_wrong(routed: NDArray[np.float64], error: float, confidence: float) -> NDArray[np.float64]:
    """The most wrong rows with which `routed` still show a risk of at most `error`; -1 where none would do."""
    from scipy.special import bdtrik

    most = np.full(routed.shape, -1.0)
    enough = routed >= fewest(error, confidence)
    # a hair more, for where the level is met exactly
    most[enough] = np.floor(bdtrik(1 - confidence, routed[enough], error) + 1e-9)
    return most


def fewest(error: float, confidence: float) -> int:
    """The least number of routed rows, none of them wrong, that shows a risk of at most `error`."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - error) - 1e-9)
