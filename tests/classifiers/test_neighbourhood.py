from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from classifiers.neighbourhood import ROWS, Neighbourhood, largest


@given(
    arrays(np.float32, st.integers(1, 20 * ROWS), elements=st.floats(-1, 1, width=16)),  # 16 bits: many are equal
    st.integers(1, 12),
)
def test_the_largest_are_those_of_a_whole_sort(values: np.ndarray, count: int) -> None:
    found = largest(values, count)
    assert values[found].tolist() == sorted(values.tolist(), reverse=True)[:count]
    assert len(set(found.tolist())) == min(count, len(values))


def test_the_similarity_is_the_mean_of_the_nearest() -> None:
    around = Neighbourhood(np.eye(4, dtype=np.float32), nearest=2)
    cosines = around.cosines(np.array([0.6, 0.8, 0, 0], dtype=np.float32))
    assert around.similarity(cosines[largest(cosines, 3)]) == pytest.approx(0.7)
