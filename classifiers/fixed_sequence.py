"""The test that gives gates their guarantee, for any number of rows and any scores. Knows numbers only.

Learn then Test: Angelopoulos, Bates, Candes, Jordan, Lei 2021, "Learn then Test: Calibrating Predictive Algorithms
to Achieve Risk Control" (arXiv:2110.01052), with its fixed sequence testing. The gates stand on one ladder that
other rows have laid. Each step's hypothesis "some language is routed wrongly more often than `error`" is tested on
the calibration rows by the exact binomial tail, each at the full level, from strict to lenient until one is not
rejected. To reject any true hypothesis one must first reject the first true one on the way, so with probability
`confidence` over the calibration rows the step that is chosen keeps the bound in every language. The languages
share that level: "some language" is rejected only when each is (an intersection-union test: Berger 1982,
"Multiparameter Hypothesis Testing and Acceptance Sampling", Technometrics 24).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from classifiers.gates import Judged, Ladder, first_steps
from classifiers.risk import most_wrong, p_value

Counted = tuple[NDArray[np.intp], NDArray[np.intp]]


def count(rows: Judged, ladder: Ladder) -> dict[str, Counted]:
    """Language -> (routed, wrong), each of shape (steps,)."""
    steps = first_steps(rows, ladder)
    return {
        lang: _count(steps[rows.langs == lang], rows.right[rows.langs == lang], len(ladder))
        for lang in sorted(set(rows.langs.tolist()))
    }


def start_of(rows: Judged, ladder: Ladder, sizes: Mapping[str, int], error: float, confidence: float) -> int:
    """Where testing should begin: the step most likely to pass by other rows, those that laid the ladder.

    The strictest gates route too few rows to show anything, and the sequence ends at its first failure. `sizes`
    is the number of calibration rows by language; their scores and labels may not decide it, or the test would
    be of a hypothesis that its own rows chose.
    """
    likely, steps = np.ones(len(ladder)), first_steps(rows, ladder)
    for lang, size in sizes.items():
        members = rows.langs == lang
        if not members.any():  # a language that only the calibration rows have
            members = np.ones(len(rows), dtype=np.bool_)
        routed, wrong = _count(steps[members], rows.right[members], len(ladder))
        expected = np.floor(routed * (size / members.sum()))
        # Laplace's rule: no wrong row in a few does not make the risk zero
        risk = (wrong + 1) / (routed + 2)
        likely *= p_value(most_wrong(expected, error, confidence), expected, risk)
    return int(likely.argmax())


def last_passed(counts: Mapping[str, Counted], start: int, error: float, confidence: float) -> int | None:
    """The most lenient step that passes when testing begins at `start`; None when that one fails already."""
    failed = np.any([p_value(wrong, routed, error) > 1 - confidence for routed, wrong in counts.values()], axis=0)
    stop = np.flatnonzero(np.append(failed[start:], True))[0]
    return start + int(stop) - 1 if stop else None


def _count(steps: NDArray[np.intp], right: NDArray[np.bool_], total: int) -> Counted:
    routed = np.bincount(steps, minlength=total + 1)[:total].cumsum()
    wrong = np.bincount(steps[~right], minlength=total + 1)[:total].cumsum()
    return routed, wrong
