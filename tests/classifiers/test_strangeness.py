from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from classifiers.strangeness import MOST, fit_limit, strangeness


@pytest.mark.parametrize(
    ("scores", "similarity", "expected"),
    [
        ([1.0, 0.0, 0.0, 0.0], 1.0, 0.0),  # an exemplar, and no doubt
        ([1.0, 0.0, 0.0, 0.0], 0.25, 0.75),  # no doubt, and nothing near
        ([0.25] * 4, 1.0, 1.0),  # near, and anything
        ([0.5, 0.5, 0.0, 0.0], 1.0, 0.5),  # one bit of two
        ([0.25] * 4, 0.0, MOST),
        ([0.25] * 4, -1.0, 3.0),
    ],
)
def test_doubt_and_distance_add_up(scores: list[float], similarity: float, expected: float) -> None:
    assert float(strangeness(np.array(scores), similarity)) == pytest.approx(expected)


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    random = np.random.default_rng(0)
    scores, similarities = random.dirichlet(np.ones(5), size=20), random.uniform(-1, 1, size=20)
    together = strangeness(scores, similarities)
    assert together.shape == (20,)
    assert together.tolist() == [float(strangeness(*one)) for one in zip(scores, similarities, strict=True)]


@given(arrays(np.float64, st.integers(1, 300), elements=st.floats(0, 3)), st.floats(0.5, 1))
def test_the_limit_keeps_at_least_the_share_and_no_more_than_it_must(held_out: np.ndarray, kept: float) -> None:
    limit = fit_limit(held_out, kept)
    assert (held_out <= limit).mean() >= kept - 1e-9
    assert (held_out < limit).mean() <= kept + 1e-9
