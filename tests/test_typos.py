"""Typing mistakes: what is put right, what is left alone, and what it is worth on the frozen dialogues."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.dialogues import FROZEN
from bench.spelling import CHANGES, PutRight, mistyped, questions, unpunctuated
from classifiers import Classifier
from router.typos import Speller


@pytest.fixture(scope="module")
def put_right(data: Path) -> PutRight:
    return PutRight(Classifier.load(data / "classifier"))


@pytest.fixture(scope="module")
def speller(put_right: PutRight) -> Speller:
    return put_right.speller


class Asked:
    """The frozen prompts of one language, with the labels they get as they are."""

    def __init__(self, put_right: PutRight, lang: str) -> None:
        self._put_right = put_right
        self.lang = lang
        self.rows = [row for row in questions(FROZEN) if row.lang == lang]
        self.plain = put_right.labels(row.text for row in self.rows)

    def changed(self, change: Callable[[str], str]) -> list[str]:
        """The labels they get when each is changed."""
        return self._put_right.labels(change(row.text) for row in self.rows)

    def right(self, labels: Sequence[str]) -> float:
        """The share of right labels."""
        return sum(one == row.label for one, row in zip(labels, self.rows, strict=True)) / len(labels)


@pytest.fixture(scope="module", params=["en", "ru"])
def asked(put_right: PutRight, request: pytest.FixtureRequest) -> Asked:
    return Asked(put_right, request.param)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("waht is teh velocty of lihgt", "what is the velocity of light"),
        ("кк скорсть свтеа измреили", "как скорость света измерили"),
        ("Hwo, many plyaers!", "how, many players!"),
    ],
)
def test_mistyped_texts_are_put_right(speller: Speller, typed: str, meant: str) -> None:
    assert speller.correct(typed) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "🙂 42",
        "How do I run docker compose on kubernetes?",
        "Что такое утиная типизация?",
        "Where is Lake Titicaca, and who was Tupac Amaru?",
        "Кто такой Мбаппе и за какую команду он играет сейчас?",
    ],
)
def test_a_text_with_few_unknown_words_stays_as_it_is(speller: Speller, text: str) -> None:
    assert speller.correct(text) == text


@given(text=st.text(max_size=200))
def test_anything_may_come_and_no_letter_means_no_change(speller: Speller, text: str) -> None:
    found = speller.correct(text)
    assert isinstance(found, str)
    if not any(letter.isalpha() for letter in text):
        assert found == text


def test_noise_as_long_as_a_subject_may_be_costs_milliseconds(speller: Speller) -> None:
    noise = "щцкжфыв " * 125
    start = time.process_time()
    speller.correct(noise)
    assert time.process_time() - start < 1.0  # 0.1 s on an idle core


def test_politeness_keeps_the_label_of_98_prompts_in_100(asked: Asked) -> None:
    for name in ("polite head", "polite tail"):
        labels = asked.changed(CHANGES[asked.lang][name])
        same = sum(one == other for one, other in zip(labels, asked.plain, strict=True))
        assert same / len(labels) >= 0.98, name


def test_case_and_punctuation_cost_less_than_five_points(asked: Asked) -> None:
    for change in (str.upper, str.lower, unpunctuated):
        assert asked.right(asked.plain) - asked.right(asked.changed(change)) <= 0.05


def test_a_slip_in_every_word_costs_little_beside_what_it_costs_uncorrected(asked: Asked) -> None:
    assert asked.right(asked.plain) - asked.right(asked.changed(mistyped)) <= 0.1
