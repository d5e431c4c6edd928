"""The comparison graph against the same sums in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from classifiers.comparison import Comparison
from classifiers.neighbourhood import Codes, directions, rounded

BANDWIDTH = 0.5


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def _reference(
    codes: Codes, weights: NDArray[np.float32], vector: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    cosines = directions(codes).astype(np.float64) @ vector.astype(np.float64)
    return cosines, weights @ np.exp((cosines - 1) / BANDWIDTH)


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(2, 300), st.integers(1, 12))
def test_it_is_the_kernel_and_the_nearest_of_the_exemplars(seed: int, rows: int, dim: int, count: int) -> None:
    random = np.random.default_rng(seed)
    codes = rounded(_unit(random.normal(size=(rows, dim))))
    weights = random.normal(size=(3, rows)).astype(np.float32)
    vector = _unit(random.standard_t(2, size=dim))  # a few large numbers, many small ones
    found = Comparison(codes, weights, BANDWIDTH).run(vector, count)
    cosines, guesses = _reference(codes, weights, vector)
    np.testing.assert_allclose(found.cosines, np.sort(cosines)[::-1][:count], atol=1e-4)
    np.testing.assert_allclose(found.cosines, cosines[found.nearest], atol=1e-4)
    assert len(set(found.nearest.tolist())) == min(count, rows)
    np.testing.assert_allclose(found.guesses, guesses, atol=1e-4 * np.abs(weights).sum())


@pytest.mark.parametrize("signs", [(1, 1), (1, -1)])
def test_nothing_overflows_where_all_numbers_are_as_large_as_can_be(signs: tuple[int, int]) -> None:
    code = np.tile(np.array(signs, dtype=np.int8) * 127, 256)
    codes = np.stack([code, -code]).astype(np.int8)
    vector = _unit(code.astype(np.float64))
    found = Comparison(codes, np.zeros((2, 2), np.float32), BANDWIDTH).run(vector, 2)
    assert found.nearest.tolist() == [0, 1]
    np.testing.assert_allclose(found.cosines, [1, -1], atol=1e-4)


def test_a_zero_vector_is_like_nothing() -> None:
    found = Comparison(rounded(np.eye(4, dtype=np.float32)), np.ones((2, 4), np.float32), BANDWIDTH).run(
        np.zeros(4, np.float32), 1
    )
    assert found.cosines.tolist() == [0]
    np.testing.assert_allclose(found.guesses, 4 * np.exp(-1 / BANDWIDTH), rtol=1e-5)
