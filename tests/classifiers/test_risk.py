"""Binomial bounds against scipy's distribution, published numbers and arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from classifiers.risk import fewest, most_wrong, p_value, upper_bound


def test_the_tail_is_the_binomial_distributions() -> None:
    for routed in (1, 7, 60, 400):
        for wrong in (0, 1, routed // 10, routed // 2, routed):
            assert float(p_value(wrong, routed, 0.05)) == pytest.approx(binom.cdf(wrong, routed, 0.05), abs=1e-12)


def test_two_small_tails_by_hand() -> None:
    assert float(p_value(0, 3, 0.1)) == pytest.approx(0.9**3)
    assert float(p_value(1, 3, 0.1)) == pytest.approx(0.9**3 + 3 * 0.1 * 0.9**2)


def test_nothing_routed_shows_nothing() -> None:
    assert float(p_value(0, 0, 0.05)) == 1.0
    assert float(upper_bound(0, 0, 0.95)) == 1.0
    assert float(upper_bound(4, 4, 0.95)) == 1.0


def test_the_bound_is_clopper_and_pearsons() -> None:
    for wrong, routed in ((0, 20), (3, 50), (40, 900)):
        # a two-sided interval at 90 % leaves 5 % above
        other = binomtest(wrong, routed).proportion_ci(0.9, "exact").high
        assert float(upper_bound(wrong, routed, 0.95)) == pytest.approx(other, abs=1e-9)


def test_the_fewest_rows_are_the_first_that_suffice() -> None:
    assert fewest(0.05, 0.95) == 59  # the well-known number of Wilks 1941 and of nuclear safety
    assert fewest(0.05, 0.99) == 90
    assert fewest(0.5, 0.5) == 1
    for error, confidence in ((0.05, 0.95), (0.1, 0.9), (0.02, 0.99)):
        least = fewest(error, confidence)
        assert float(upper_bound(0, least, confidence)) <= error < float(upper_bound(0, least - 1, confidence))


def test_one_more_wrong_row_would_be_too_many() -> None:
    for error, confidence in ((0.05, 0.95), (0.2, 0.9)):
        routed = np.arange(1.0, 500.0)
        most = most_wrong(routed, error, confidence)
        assert (binom.cdf(most, routed, error) <= 1 - confidence).all()
        assert (binom.cdf(most + 1, routed, error) > 1 - confidence).all()
        assert most[0] == -1.0
        assert most[-1] > 0
