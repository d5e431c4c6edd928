"""Figures of answers, worked by hand: no route is wrong, and no label."""

from __future__ import annotations

import numpy as np
import pytest

from bench.quality.answers import Answers, details, outsiders, summary
from classifiers import Row

ROWS = [Row("a", "en", "1"), Row("a", "en", "2"), Row("b", "en", "3"), Row("b", "ru", "4"), Row("a", "ru", "5")]
ANSWERS = Answers(
    ("a", None, "b", "a", "a"), np.array([0.9, 0, 0.8, 0.4, 0.7]), np.array([0.1, 1, 0.3, 0.3, 0.2]), 1.0
)


def test_no_route_costs_recall_and_is_no_label() -> None:
    found = summary(ROWS, ANSWERS)
    assert list(found) == ["en", "ru", "all"]
    english = found["en"]
    assert english["accuracy"] == pytest.approx(2 / 3)
    assert english["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)  # a: 2 x 1 hit / (1 called + 2 are); b: all
    assert english["no_route"] == pytest.approx(1 / 3)
    assert english["coverage_at_5"] == pytest.approx(2 / 3)  # the wrong one has confidence 0
    assert found["ru"]["accuracy"] == 0.5
    assert found["all"]["rows"] == 5


def test_strangers_are_ranked_within_a_language() -> None:
    found = outsiders(ROWS, ANSWERS, {"b"})
    assert found["en"] == pytest.approx(0.5)  # 0.3 is above 0.1 and below 1
    assert found["ru"] == 1  # 0.3 above 0.2
    assert found["all"] == pytest.approx((1 + 0 + 1 + 1 + 0 + 1) / 6)
    assert outsiders(ROWS[:2], ANSWERS.take([0, 1]), {"b"}) == {}  # nobody to tell apart


def test_confusion_counts_rows_by_what_they_were_called() -> None:
    found = details(ROWS, ANSWERS, ["a", "b"])
    assert found["all"]["confusion"] == [[2, 0], [1, 1]]  # the one without a route is in no column
    assert found["en"]["labels"]["a"]["recall"] == 0.5
