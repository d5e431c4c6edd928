"""The exemplars that ship: do they make the classifier that the documentation describes?"""

from __future__ import annotations

from pathlib import Path

import pytest

from classifiers import Classifier

LABELS = (
    "arts_entertainment cooking_travel economics general history law math medicine natural_science "
    "philosophy_psychology physics programming society sport"
)


@pytest.fixture(scope="module")
def shipped(data: Path) -> Classifier:
    return Classifier.load(data / "classifier")


def test_labels_and_held_out_figures_are_as_documented(shipped: Classifier) -> None:
    assert shipped.labels == tuple(LABELS.split())
    figures = shipped.training["cross_validation"]
    for lang in ("all", "en", "ru"):
        assert figures["accuracy"][lang] > 0.75
        assert figures["macro_f1"][lang] > 0.75
        assert figures["ece"][lang] < 0.04


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("A satellite orbits at twice the Earth's radius: what is its speed?", "physics"),
        ("Почему у ракеты в космосе есть тяга?", "physics"),
        ("my docker container exits with code 137", "programming"),
        ("Как в питоне отсортировать словарь по значению?", "programming"),
        ("Can I take ibuprofen together with antibiotics?", "medicine"),
        ("Кто забил решающий гол в финале?", "sport"),
        ("привет, как дела?", "general"),
    ],
)
def test_everyday_prompts_open_the_default_gate(shipped: Classifier, text: str, label: str) -> None:
    prediction = shipped.predict(text)
    assert prediction.label == label
    assert prediction.confidence > 0.55
    assert not prediction.out_of_domain
