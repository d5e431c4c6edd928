"""The Russian lemmatizer against facts of the language (Zaliznyak's dictionary), and its laziness."""

from __future__ import annotations

import subprocess
import sys

import pytest

from router.lemmas import RussianLemmatizer

LEMMATIZER = RussianLemmatizer()


@pytest.mark.parametrize(
    ("word", "lemma"),
    [
        ("физику", "физика"),
        ("физикой", "физика"),
        ("Спортом", "спорт"),
        ("академическом", "академический"),
        ("ядра", "ядро"),
    ],
)
def test_lemmas(word: str, lemma: str) -> None:
    assert {lemma, word.lower()} <= LEMMATIZER.lemmas(word)


@pytest.mark.parametrize("word", ["объясни", "Напиши", "реши", "посчитай", "докажите", "переведи", "сравни"])
def test_imperatives(word: str) -> None:
    assert LEMMATIZER.is_imperative(word)


@pytest.mark.parametrize("word", ["машина", "объяснить", "три", "по", "стали", "explain", "", "фзикуй"])
def test_no_imperatives(word: str) -> None:
    assert not LEMMATIZER.is_imperative(word)


def test_dictionary_tells_words_from_typos() -> None:
    assert LEMMATIZER.knows("спор")
    assert not LEMMATIZER.knows("физка")
    assert not LEMMATIZER.knows("sport")


def test_foreign_and_endless_words_are_their_own_forms() -> None:
    assert LEMMATIZER.lemmas("Physics") == {"physics"}
    assert LEMMATIZER.lemmas("ф" * 100_000) == {"ф" * 100_000}


def test_import_loads_no_dictionary() -> None:
    code = "import sys, router.lemmas as l; l.RussianLemmatizer(); sys.exit('pymorphy3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
