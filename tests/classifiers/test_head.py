"""The hot path against scikit-learn's own answer for the same model."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neighbors import KernelDensity

from classifiers import Classifier
from classifiers.head import Head, fit_regression, fit_temperature, log_loss


def _blobs(labels: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    random = np.random.default_rng(seed)
    centres = random.normal(size=(labels, 16))
    vectors = (centres[:, None, :] + random.normal(size=(labels, 30, 16))).reshape(-1, 16)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.repeat([f"label{i}" for i in range(labels)], 30)


@pytest.mark.parametrize("labels", [2, 3, 14])
def test_without_neighbours_and_temperature_it_is_predict_proba(labels: int) -> None:
    vectors, names = _blobs(labels)
    regression = fit_regression(vectors, names, 3.0)
    head = Head(regression, temperature=1.0, neighbour_weight=0.0)
    ours = np.array([head.probabilities(vector, np.zeros(labels)) for vector in vectors])
    np.testing.assert_allclose(ours, regression.predict_proba(vectors.astype(np.float64)), atol=1e-6)
    assert head.labels == tuple(regression.classes_)


def test_whole_prediction_equals_regression_plus_kernel_density_of_scikit_learn(classifier: Classifier) -> None:
    around, head = classifier.neighbourhood, classifier.head
    text = "Why does a rocket accelerate in empty space?"
    vector = classifier.encoder.encode([text]).astype(np.float64)
    owners = np.array([row.label for row in classifier.rows])
    # On the unit sphere |x - y|^2 = 2 - 2 cos, so a Gaussian of bandwidth b weighs by exp(cos / b^2).
    densities = [
        KernelDensity(bandwidth=around.bandwidth**0.5)
        .fit(around.vectors[owners == label])
        .score_samples(vector)[0]
        for label in classifier.labels
    ]
    logits = head.regression.decision_function(vector)[0] + head.neighbour_weight * np.array(densities)
    powers = np.exp((logits - logits.max()) / head.temperature)
    expected = powers / powers.sum()
    ours = classifier.predict(text)
    np.testing.assert_allclose(list(ours.scores.values()), expected, atol=1e-6)
    assert list(ours.scores) == list(classifier.labels)


def test_temperature_equals_the_closed_form_of_a_coin() -> None:
    # Logit 2 for the guessed side, right 3 times of 4: sigmoid(2 / T) = 3/4, so T = 2 / ln 3.
    logits = np.array([[0.0, 2.0]] * 4)
    targets = np.array([1, 1, 1, 0])
    temperature = fit_temperature(logits, targets)
    assert temperature == pytest.approx(2 / np.log(3), rel=1e-3)
    # and there the loss is the entropy of a 3:1 coin
    assert log_loss(logits, targets, temperature) == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))
