"""The real embedded encoder, and a classifier trained once on the small exemplars."""

from __future__ import annotations

import pytest

from classifiers import Classifier, Encoder, open_encoder, train
from tests.classifiers.material import ROWS


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return open_encoder("use")


@pytest.fixture(scope="session")
def classifier(encoder: Encoder) -> Classifier:
    return train(ROWS, encoder)
