"""What the exemplars score when their own topic was left out of the fit. Knows no head and no file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class HeldOut:
    """`scores` of shape (n, labels) and `strangeness` of shape (n,), in the order of the classifier's rows.

    They describe the fit, and no result depends on them: gates are laid by them (`classifiers.calibrate`).
    """

    scores: NDArray[np.float64]
    strangeness: NDArray[np.float64]
