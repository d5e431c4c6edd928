"""Typing mistakes: what is put right, what is left alone, and what it is worth on the frozen dialogues."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.dialogues import read_dialogues
from bench.spelling import CHANGES, mistyped, unpunctuated
from classifiers import Classifier
from router.core.subject import subject_of
from router.lemmas import RussianLemmatizer
from router.typos import Speller

FROZEN = Path("tests/data/dialogues/frozen.jsonl")


@pytest.fixture(scope="module")
def shipped(data: Path) -> Classifier:
    return Classifier.load(data / "classifier")


@pytest.fixture(scope="module")
def speller(shipped: Classifier) -> Speller:
    return Speller([row.text for row in shipped.rows], RussianLemmatizer().knows)


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


def _right(
    classifier: Classifier, speller: Speller, lang: str, change: Callable[[str], str]
) -> tuple[float, float]:
    """Share of the frozen prompts that are right, and that keep the unchanged prompt's label."""

    def label(text: str) -> str:
        return classifier.predict(speller.correct(subject_of(text).text)).label

    turns = [turn for dialogue in read_dialogues(FROZEN) if dialogue.lang == lang for turn in dialogue.turns]
    turns = [turn for turn in turns if turn.kind in ("opening", "shift")]
    got = [label(change(turn.user)) for turn in turns]
    right = sum(one == turn.label for one, turn in zip(got, turns, strict=True)) / len(turns)
    same = sum(one == label(turn.user) for one, turn in zip(got, turns, strict=True)) / len(turns)
    return right, same


@pytest.mark.parametrize("lang", ["en", "ru"])
def test_politeness_keeps_the_label_of_98_prompts_in_100(shipped: Classifier, speller: Speller, lang: str) -> None:
    for name in ("polite head", "polite tail"):
        assert _right(shipped, speller, lang, CHANGES[lang][name])[1] >= 0.98, name


@pytest.mark.parametrize("lang", ["en", "ru"])
def test_case_and_punctuation_cost_less_than_five_points(shipped: Classifier, speller: Speller, lang: str) -> None:
    plain = _right(shipped, speller, lang, str)[0]
    for change in (str.upper, str.lower, unpunctuated):
        assert plain - _right(shipped, speller, lang, change)[0] <= 0.05


@pytest.mark.parametrize("lang", ["en", "ru"])
def test_a_slip_in_every_word_costs_little_beside_what_it_costs_uncorrected(
    shipped: Classifier, speller: Speller, lang: str
) -> None:
    plain = _right(shipped, speller, lang, str)[0]
    assert plain - _right(shipped, speller, lang, mistyped)[0] <= 0.1
