"""The measured effect of new exemplars: on the same folds, with nothing encoded twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from classifiers import Classifier, Encoder, Row, RowError, train
from classifiers.effect import Moved, _same_folds, measure
from classifiers.encoders import Vectors
from classifiers.encoders.remembering import RememberingEncoder
from classifiers.folds import SPLITS
from tests.classifiers.material import ROWS

NEW = Row("sport", "ru", "Где купить билеты на матч?")
CHESS = [Row("chess", "en", f"the {piece} on {square}") for piece in ("rook", "queen") for square in "abcde"]


class Counting:
    """The encoder, and every text that it was given."""

    def __init__(self, encoder: Encoder) -> None:
        self.id, self.spec, self.dim = encoder.id, encoder.spec, encoder.dim
        self.inner = encoder
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.seen += texts
        return self.inner.encode(texts)


def test_only_new_texts_are_encoded_and_each_once(classifier: Classifier) -> None:
    counting = Counting(classifier.encoder)
    prompts = [Row("cooking", "en", "soup for two"), Row("sport", "en", "who won the cup"), ROWS[0]]
    measure(replace(classifier, encoder=counting), [NEW], {"a": prompts, "b": prompts})
    assert sorted(counting.seen) == sorted([NEW.text, "soup for two", "who won the cup"])


def test_a_remembering_encoder_gives_the_vectors_of_its_encoder(encoder: Encoder) -> None:
    texts = ["one", "two", "one"]
    remembering = RememberingEncoder(encoder, {})
    for _ in range(2):
        assert np.array_equal(remembering.encode(texts), encoder.encode(texts))
    assert (remembering.id, remembering.spec, remembering.dim) == (encoder.id, encoder.spec, encoder.dim)


def test_the_effect_is_what_two_trainings_say(classifier: Classifier, encoder: Encoder) -> None:
    prompts = [Row("sport", "ru", "билеты на матч"), Row("cooking", "ru", "как сварить суп")]
    effect = measure(classifier, [NEW], {"mine": prompts})
    ((row, before, after),) = effect.texts
    assert (row, before) == (NEW, classifier.predict(NEW.text))
    assert after.label == "sport"
    assert after.scores["sport"] > before.scores["sport"]
    assert effect.cross_validation.before == classifier.training["cross_validation"]
    assert effect.cross_validation.after["rows"]["all"] == len(ROWS) + 1
    (mine,) = effect.sets
    again = train([*ROWS, NEW], encoder)
    changed = [row for row in prompts if classifier.predict(row.text).label != again.predict(row.text).label]
    assert [moved.row for moved in mine.moved] == changed
    assert mine.before["rows"] == mine.after["rows"] == {"all": 2, "ru": 2}


@pytest.mark.parametrize("held_out", SPLITS)
def test_every_old_row_stays_in_its_fold_and_a_new_one_joins_its_nearest(
    classifier: Classifier, held_out: str
) -> None:
    labels = np.array([row.label for row in classifier.rows])
    vectors = classifier.neighbourhood.vectors
    old = SPLITS[held_out](vectors, labels, 0)
    twin = Row("sport", "en", "What's the offside rule?")
    together = sorted([*classifier.rows, twin])
    encoded = RememberingEncoder(classifier.encoder, {}).encode([row.text for row in together])
    new = _same_folds(classifier, together, 0, held_out)(encoded, np.array([row.label for row in together]), 0)

    def held(folds: Sequence[tuple[object, np.ndarray]], rows: Sequence[Row]) -> dict[str, int]:
        return {rows[i].text: fold for fold, (_, outside) in enumerate(folds) for i in outside}

    were, are = held(old, classifier.rows), held(new, together)
    assert are == {**were, twin.text: were["What is the offside rule?"]}
    for inside, outside in new:
        assert sorted([*inside, *outside]) == list(range(len(together)))


def test_a_new_label_needs_ten_and_then_counts(classifier: Classifier) -> None:
    with pytest.raises(RowError, match="'chess' has 9 exemplars; it needs at least 10"):
        measure(classifier, CHESS[:9])
    effect = measure(classifier, CHESS, {"mine": [Row("chess", "en", "a rook and a queen")]})
    assert all("chess" not in before.scores and after.label == "chess" for _, before, after in effect.texts)
    assert [moved.kind for moved in effect.sets[0].moved] == ["fixed"]


def test_an_evaluation_label_that_nobody_knows_is_refused_before_training(classifier: Classifier) -> None:
    with pytest.raises(RowError, match=r"mine\.jsonl: unknown label 'chess'"):
        measure(classifier, [NEW], {"mine.jsonl": [Row("chess", "en", "e4")]})


@pytest.mark.parametrize(
    ("before", "after", "kind"), [("a", "b", "fixed"), ("b", "a", "broken"), ("a", "c", "moved")]
)
def test_kinds_of_moves(before: str, after: str, kind: str) -> None:
    assert Moved(Row("b", "en", "text"), before, after).kind == kind
