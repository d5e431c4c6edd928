"""The hot path against scikit-learn's own answer for the same model, and the link's promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import rbf_kernel

from classifiers import Classifier
from classifiers.head import link, log_softplus
from classifiers.ridge import BANDWIDTH, RIDGE, fit_link, log_loss, solve


def _blobs(sizes: list[int], seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    random = np.random.default_rng(seed)
    centres = random.normal(size=(len(sizes), 16))
    targets = np.repeat(np.arange(len(sizes)), sizes)
    vectors = centres[targets] + random.normal(size=(len(targets), 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), targets


@pytest.mark.parametrize("sizes", [[30, 30], [30, 30, 30], [60, 20, 10, 25]])
def test_the_weights_are_those_of_scikit_learns_kernel_ridge(sizes: list[int]) -> None:
    vectors, targets = _blobs(sizes)
    labels = len(sizes)
    # On the unit sphere |x - y|^2 = 2 - 2 cos, so exp((cos - 1) / h) is the RBF kernel of gamma 1 / (2 h).
    gram = rbf_kernel(vectors.astype(np.float64), gamma=1 / (2 * BANDWIDTH))
    weight = (len(targets) / labels) / np.array(sizes)[targets]
    reference = KernelRidge(alpha=RIDGE, kernel="precomputed")
    reference.fit(gram, np.eye(labels)[targets] - 1 / labels, sample_weight=weight)
    ours = solve(gram.astype(np.float32), targets, labels)
    assert ours.shape == (labels, len(targets))
    assert ours.flags.c_contiguous
    np.testing.assert_allclose(ours.T, reference.dual_coef_, atol=2e-4)


def test_a_whole_prediction_is_kernel_ridge_and_link_of_the_exemplars(classifier: Classifier) -> None:
    head = classifier.head
    text = "Why does a rocket accelerate in empty space?"
    vector = classifier.encoder.encode([text]).astype(np.float64)
    vectors = classifier.neighbourhood.vectors.astype(np.float64)
    names, targets = np.unique([row.label for row in classifier.rows], return_inverse=True)
    reference = KernelRidge(alpha=RIDGE, kernel="rbf", gamma=1 / (2 * head.bandwidth))
    reference.fit(vectors, np.eye(len(names))[targets] - 1 / len(names))
    (guesses,) = reference.predict(vector)
    powers = np.log1p(np.exp(head.sharpness * guesses)) ** head.power
    ours = classifier.predict(text)
    np.testing.assert_allclose(list(ours.scores.values()), powers / powers.sum(), atol=1e-4)
    assert list(ours.scores) == list(classifier.labels) == names.tolist()


@given(
    st.lists(st.floats(-2, 2, width=32), min_size=2, max_size=14),
    st.floats(0.5, 200),
    st.floats(0.1, 20),
)
def test_the_link_keeps_the_order_and_sums_to_one(guesses: list[float], sharpness: float, power: float) -> None:
    found = np.array(guesses)
    scores = link(found, sharpness, power)
    assert np.isfinite(scores).all()
    assert scores.sum() == pytest.approx(1)
    assert (np.diff(scores[np.argsort(found, kind="stable")]) >= 0).all()


def test_log_softplus_is_exact_in_the_middle_and_linear_far_below() -> None:
    values = np.array([-20.0, -1.0, 0.0, 3.0, 50.0])
    np.testing.assert_allclose(log_softplus(values), np.log(np.log1p(np.exp(values))), rtol=1e-7)
    np.testing.assert_array_equal(log_softplus(np.array([-1e6, -31.0])), [-1e6, -31.0])


def test_the_link_finds_the_truth_that_made_the_labels() -> None:
    random = np.random.default_rng(0)
    guesses = random.normal(0, 0.3, size=(20_000, 4))
    truth = link(guesses, 8.0, 2.5)
    targets = (truth.cumsum(axis=1) < random.random((len(truth), 1))).sum(axis=1)
    found = fit_link(guesses, targets)
    assert found.loss == pytest.approx(log_loss(truth, targets), abs=1e-3)
    np.testing.assert_allclose(link(guesses, found.sharpness, found.power), truth, atol=0.02)


def test_guesses_that_are_never_wrong_get_a_finite_link() -> None:
    targets = np.arange(30) % 3
    found = fit_link(np.eye(3)[targets] - 1 / 3, targets)
    assert 0 < found.sharpness <= 200.1
    assert 0 < found.power <= 20.1
    assert found.loss < 1e-6


def test_log_loss_of_a_coin_is_its_entropy() -> None:
    scores = np.array([[0.25, 0.75]] * 4)
    assert log_loss(scores, np.array([1, 1, 1, 0])) == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))
