from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from classifiers.neighbourhood import Neighbourhood, directions, rounded

MATRICES = arrays(
    np.float32, st.tuples(st.integers(1, 8), st.integers(1, 40)), elements=st.floats(-1, 1, width=32)
)


@given(MATRICES)
def test_a_rounded_vector_points_where_it_did(vectors: np.ndarray) -> None:
    vectors[np.abs(vectors) < 1e-6] = 0
    codes = rounded(vectors)
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    assert np.abs(codes * (largest / 127) - vectors).max() <= largest.max() / 127 / 2 * 1.001
    unit = directions(codes)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), (largest[:, 0] > 0).astype(float), atol=1e-6)
    np.testing.assert_array_equal(rounded(unit), codes)


def test_the_similarity_is_the_mean_of_the_nearest() -> None:
    around = Neighbourhood(rounded(np.eye(4, dtype=np.float32)), nearest=2)
    assert around.similarity(np.array([0.8, 0.6, 0.1], dtype=np.float32)) == pytest.approx(0.7)
