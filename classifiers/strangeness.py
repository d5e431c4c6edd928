"""How much of a stranger a text is, and from where on it is one. Knows no text, no encoder and no head.

Neither half does alone: a stranger may look like one label, far from everything known, and may lie near exemplars
of many labels. Sum and weights were chosen by leaving labels out, see docs/adr/0010.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

KEPT = 0.95  # share of the exemplars that count as in domain when each is judged by fits without its topic
MOST = 2.0  # of a text that nothing is known about: equal scores and no similarity

Numbers = NDArray[np.float64]


def strangeness(scores: Numbers, similarities: Numbers | float) -> Numbers:
    """The entropy of the scores as a share of its maximum, plus 1 - similarity to what is nearest: in [0, 3].

    `scores` of shape (..., labels) sum to 1; `similarities` and the result have shape (...).
    """
    entropy = -(scores * np.log(np.maximum(scores, 1e-300))).sum(axis=-1) / np.log(scores.shape[-1])
    strange: Numbers = entropy + 1.0 - similarities
    return strange


def fit_limit(held_out: Numbers, kept: float = KEPT) -> float:
    """The limit that the share `kept` of held-out exemplars does not exceed; `held_out` has shape (n,).

    No text from outside the domain is needed, and none is pretended: the limit bounds the false alarms on texts
    like the exemplars and says nothing about how many strangers are caught. Measure that with `evaluate`.
    """
    return float(np.quantile(held_out, kept, method="inverted_cdf"))
