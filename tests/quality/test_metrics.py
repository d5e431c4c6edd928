"""AUROC and risk over coverage: against scikit-learn, and against a sheet of paper."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bench.quality.answers import recall_at
from classifiers.metrics import auroc, coverage_at, expected_calibration_error, reliability, risk_coverage


@pytest.mark.parametrize("digits", [1, 8])  # one digit: many ties
def test_auroc_is_scikit_learns(digits: int) -> None:
    random = np.random.default_rng(digits)
    outside, inside = random.normal(0.5, 1, 80).round(digits), random.normal(0, 1, 200).round(digits)
    expected = roc_auc_score([1] * 80 + [0] * 200, np.concatenate([outside, inside]))
    assert auroc(outside, inside) == pytest.approx(expected)


def test_auroc_needs_both_sides() -> None:
    with pytest.raises(ValueError, match="both sides"):
        auroc(np.array([]), np.array([1.0]))


def test_risk_over_coverage_worked_by_hand() -> None:
    # from sure to unsure: right; wrong and right at once; right; wrong
    confidence = np.array([0.9, 0.7, 0.7, 0.5, 0.2])
    correct = np.array([True, False, True, True, False])
    curve = risk_coverage(confidence, correct)
    assert curve["coverage"] == pytest.approx([0.2, 0.6, 0.8, 1.0])
    assert curve["risk"] == pytest.approx([0, 1 / 3, 1 / 4, 2 / 5])
    assert curve["area"] == pytest.approx((0 + 2 / 3 + 1 / 4 + 2 / 5) / 5)
    assert coverage_at(curve, 0.1) == pytest.approx(0.2)
    assert coverage_at(curve, 0.25) == pytest.approx(0.8)  # although more were wrong on the way
    assert coverage_at(risk_coverage(confidence, ~correct), 0.1) == 0


def test_no_rows_have_no_curve() -> None:
    assert risk_coverage(np.array([]), np.array([], dtype=bool)) == {"coverage": [], "risk": [], "area": 0.0}


def test_reliability_adds_up_to_the_calibration_error() -> None:
    random = np.random.default_rng(0)
    confidence, correct = random.uniform(0, 1, 300), random.uniform(0, 1, 300) < 0.6
    bins = reliability(confidence, correct)
    gap = sum(one["rows"] * abs(one["confidence"] - one["accuracy"]) for one in bins) / 300
    assert gap == pytest.approx(expected_calibration_error(confidence, correct))


def test_recall_keeps_what_belongs() -> None:
    known, strange = np.arange(100) / 100, np.array([0.1, 0.945, 0.96, 2.0])
    assert recall_at(known, strange) == 0.5  # 0.95 is the threshold: 96 of the 100 are kept
