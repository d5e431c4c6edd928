from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from classifiers import Classifier, Encoder, Row, RowError, evaluate, train
from classifiers.neighbourhood import Neighbourhood
from tests.classifiers.material import ROWS

NOTHING = ["", " \n\t", "🙂", "🔥🔥🔥 ❤️", "?!...", "\u200b"]
STRANGE = ["\0", "a\0b", "\ud800", "x" * 100_000, "слово " * 20_000, "漢字", "﷽", "\u202eabc", "1", "\r\n1\r\n"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("How do I make pancakes with milk and flour?", "cooking"),
        ("Как пожарить картошку с грибами?", "cooking"),
        ("What is the energy of a photon?", "physics"),
        ("Что такое сила трения?", "physics"),
        ("Who won the tennis final yesterday?", "sport"),
        ("Сколько игроков в футбольной команде?", "sport"),
    ],
)
def test_unseen_texts_of_both_languages_find_their_label(classifier: Classifier, text: str, label: str) -> None:
    prediction = classifier.predict(text)
    assert prediction.label == label
    assert prediction.confidence == prediction.scores[label] > 0.5
    assert sum(prediction.scores.values()) == pytest.approx(1.0)
    assert not prediction.out_of_domain


@pytest.mark.parametrize("text", NOTHING)
def test_a_text_without_letters_or_digits_is_out_of_domain_with_equal_scores(
    classifier: Classifier, text: str
) -> None:
    prediction, neighbours = classifier.examine(text, 3)
    assert prediction.out_of_domain
    assert prediction.strangeness == 2.0
    assert set(prediction.scores.values()) == {1 / 3}
    assert neighbours == ()


@pytest.mark.parametrize("text", STRANGE)
def test_strange_texts_get_probabilities_all_the_same(classifier: Classifier, text: str) -> None:
    assert sum(classifier.predict(text).scores.values()) == pytest.approx(1.0)


def test_random_words_of_another_world_are_out_of_domain(classifier: Classifier) -> None:
    assert classifier.predict("git rebase --onto main feature~3 feature").out_of_domain


def test_predict_many_equals_predict_exactly(classifier: Classifier) -> None:
    texts = [row.text for row in ROWS[::5]] + NOTHING
    assert classifier.predict_many(texts) == [classifier.predict(text) for text in texts]


def test_threads_get_the_answers_that_one_thread_gets(classifier: Classifier) -> None:
    texts = [row.text for row in ROWS] * 3
    alone = [classifier.predict(text) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(classifier.predict, texts)) == alone


def test_nearest_finds_the_exemplar_itself_first_and_sorts(classifier: Classifier) -> None:
    found = classifier.nearest("Объясни закон Ома", k=4)
    assert (found[0].text, found[0].label) == ("Объясни закон Ома", "physics")
    assert found[0].similarity == pytest.approx(1.0, abs=1e-3)
    assert [one.similarity for one in found] == sorted((one.similarity for one in found), reverse=True)
    assert len(found) == 4


def test_examine_is_predict_and_nearest_from_one_embedding(classifier: Classifier) -> None:
    calls: list[int] = []

    class Counting:
        id, spec, dim = classifier.encoder.id, classifier.encoder.spec, classifier.encoder.dim

        def encode(self, texts):  # type: ignore[no-untyped-def]  # the protocol's signature, repeated for nothing
            calls.append(len(texts))
            return classifier.encoder.encode(texts)

    counted = replace(classifier, encoder=Counting())
    text = "What is a free kick?"
    assert counted.examine(text, 2) == (classifier.predict(text), classifier.nearest(text, 2))
    assert calls == [1]


def test_training_does_not_depend_on_the_order_of_rows(classifier: Classifier, encoder: Encoder) -> None:
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    assert train(shuffled, encoder).fingerprint == classifier.fingerprint


def test_the_fingerprint_changes_with_whatever_changes_results(classifier: Classifier, encoder: Encoder) -> None:
    around = classifier.neighbourhood
    changed = [
        replace(classifier, limit=classifier.limit + 0.1),
        replace(classifier, neighbourhood=Neighbourhood(around.codes, around.nearest - 1)),
        replace(classifier, head=replace(classifier.head, power=2.0)),
        replace(classifier, head=replace(classifier.head, sharpness=1.0)),
        replace(classifier, head=replace(classifier.head, weights=classifier.head.weights[::-1])),
        replace(classifier, rows=(replace(classifier.rows[0], text="other"), *classifier.rows[1:])),
        train([*ROWS, Row("sport", "en", "What is a hat-trick?")], encoder),
    ]
    assert len({classifier.fingerprint, *(one.fingerprint for one in changed)}) == 8
    # figures about the fit are not results
    assert replace(classifier, training={}).fingerprint == classifier.fingerprint


def test_two_labels_are_enough(encoder: Encoder) -> None:
    two = train([row for row in ROWS if row.label != "sport"], encoder)
    assert two.labels == ("cooking", "physics")
    assert two.predict("How long do I bake a pie?").label == "cooking"
    assert two.predict("Что такое кинетическая энергия?").label == "physics"


def test_too_few_labels_or_rows_are_refused_before_anything_is_encoded(encoder: Encoder) -> None:
    with pytest.raises(RowError, match="at least two"):
        train([row for row in ROWS if row.label == "sport"], encoder)
    with pytest.raises(RowError, match="label 'sport' has 3 exemplars; it needs at least 10"):
        train([row for row in ROWS if row.label != "sport"] + ROWS[-3:], encoder)


def test_progress_tells_every_stage_to_its_end(encoder: Encoder) -> None:
    told: list[tuple[str, int, int]] = []
    train(ROWS, encoder, progress=lambda stage, done, total: told.append((stage, done, total)))
    assert ("encoding", len(ROWS), len(ROWS)) in told
    assert told[-1][0] == "cross-validating"
    assert told[-1][1] == told[-1][2]


def test_evaluation_counts_by_language(classifier: Classifier) -> None:
    rows = [
        Row("sport", "en", "How many sets are in a tennis match?"),
        Row("cooking", "en", "How many sets are in a tennis match?"),
        Row("physics", "ru", "Что такое электрический ток?"),
        Row("physics", "ru", "🙂"),
    ]
    report = evaluate(classifier, rows)
    assert report["rows"] == {"all": 4, "en": 2, "ru": 2}
    assert report["accuracy"]["en"] == 0.5
    assert report["out_of_domain"]["ru"] == 0.5
    assert report["labels"]["cooking"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    with pytest.raises(RowError, match="unknown label 'weather'"):
        evaluate(classifier, [Row("weather", "en", "Will it rain?")])
    with pytest.raises(RowError, match="no rows"):
        evaluate(classifier, [])
