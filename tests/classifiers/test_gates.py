from __future__ import annotations

import numpy as np
import pytest

from classifiers.gates import Judged, first_steps, fit_ladder, judge
from tests.classifiers.synthetic import draw


def test_judging_by_hand() -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.6, 0.2]])
    judged = judge(
        scores,
        np.array([True, False, True, True]),
        ["law", "law", "math", "general"],
        ["en", "en", "ru", "ru"],
        ["law", "general", "math"],
        ["general"],
    )
    assert judged.best.tolist() == [0, 0, 2, 1]
    assert judged.score.tolist() == [0.7, 0.7, 0.6, 0.6]
    assert judged.open.tolist() == [True, False, True, False]  # the second is out of domain, the last ignored
    assert judged.right.tolist() == [True, True, True, True]


def test_no_gate_rises_and_none_lets_two_labels_in() -> None:
    ladder = fit_ladder(draw(np.random.default_rng(0), 3000), 3)
    assert (np.diff(ladder.gates, axis=0) <= 0).all()
    assert (np.diff(ladder.levels) < 0).all()
    assert ladder.gates.min() > 0.5
    assert ladder.gates.max() <= 1.0
    # as written into a policy: three digits
    assert np.array_equal(ladder.gates, [[float(f"{gate:.3f}") for gate in step] for step in ladder.gates])


def test_a_label_that_boasts_gets_the_higher_gate() -> None:
    rng = np.random.default_rng(1)
    best, score = rng.integers(0, 2, 8000), rng.uniform(0.5, 1, 8000)
    chance = np.where(best == 0, score, score - 0.25)  # column 1 is right less often than it says
    judged = Judged(best, score, np.ones(8000, bool), rng.random(8000) < chance, np.full(8000, "en"))
    ladder = fit_ladder(judged, 2)
    middle = int(np.abs(ladder.levels - 0.7).argmin())
    honest, boasting = ladder.gates[middle]
    assert honest == pytest.approx(0.7, abs=0.05)
    assert boasting > honest + 0.1


@pytest.mark.parametrize("right", [True, False])
def test_rows_that_tell_nothing_make_one_gate_for_all(right: bool) -> None:
    rows = Judged(
        np.array([0, 1]), np.array([0.9, 0.8]), np.array([True, True]), np.full(2, right), np.full(2, "en")
    )
    ladder = fit_ladder(rows, 3)
    assert (ladder.gates == ladder.gates[:, :1]).all()


def test_a_row_is_routed_from_the_step_whose_gate_it_reaches() -> None:
    ladder = fit_ladder(draw(np.random.default_rng(0), 500), 3)
    gate = ladder.gates[10, 1]
    rows = Judged(
        best=np.array([1, 1, 1, 1]),
        score=np.array([gate, gate - 1e-9, 0.5, 1.0]),
        open=np.array([True, True, True, False]),
        right=np.ones(4, bool),
        langs=np.full(4, "en"),
    )
    steps = first_steps(rows, ladder)
    assert steps[0] == np.flatnonzero(ladder.gates[:, 1] == gate)[0]
    assert steps[1] > steps[0]
    assert steps[2:].tolist() == [len(ladder), len(ladder)]
