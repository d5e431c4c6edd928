from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from classifiers.metrics import accuracy, expected_calibration_error, label_figures, macro_f1

TRUTH = ["a", "a", "a", "b", "b", "c", "c", "c", "c"]
GUESS = ["a", "b", "a", "b", "c", "c", "c", "a", "d"]


def test_ece_equals_the_value_computed_by_hand() -> None:
    # 15 bins of width 1/15. (0.8667, 0.9333] holds 0.90 right and 0.92 wrong: accuracy 0.5, confidence 0.91, gap
    # 0.41, weight 2/5. (0.5333, 0.6] holds 0.55 and 0.60, both right: 1 against 0.575, gap 0.425, weight 2/5.
    # (0.2667, 0.3333] holds 0.30 wrong: gap 0.30, weight 1/5. ECE = 0.164 + 0.17 + 0.06.
    confidences = np.array([0.90, 0.92, 0.55, 0.60, 0.30])
    correct = np.array([True, False, True, True, False])
    assert expected_calibration_error(confidences, correct) == pytest.approx(0.394, abs=1e-12)


def test_ece_of_perfect_confidence_is_the_error_rate_and_of_perfect_calibration_is_zero() -> None:
    assert expected_calibration_error(np.ones(4), np.array([True, True, True, False])) == pytest.approx(0.25)
    assert expected_calibration_error(np.full(4, 0.75), np.array([True, True, True, False])) == pytest.approx(0)
    assert expected_calibration_error(np.array([]), np.array([], dtype=bool)) == 0.0


def test_figures_equal_those_of_scikit_learn() -> None:
    precision, recall, f1, support = precision_recall_fscore_support(TRUTH, GUESS, zero_division=0)
    figures = label_figures(TRUTH, GUESS)
    assert list(figures) == ["a", "b", "c", "d"]
    for index, one in enumerate(figures.values()):
        assert one["precision"] == pytest.approx(precision[index])
        assert one["recall"] == pytest.approx(recall[index])
        assert one["f1"] == pytest.approx(f1[index])
        assert one["support"] == support[index]
    assert macro_f1(TRUTH, GUESS) == pytest.approx(f1_score(TRUTH, GUESS, average="macro", zero_division=0))
    assert accuracy(TRUTH, GUESS) == pytest.approx(5 / 9)
