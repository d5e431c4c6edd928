"""Transliteration and look-alikes: Russian is put right, and nothing else is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.core.spelling import is_transliterated, respell

EXEMPLARS = Path(__file__).resolve().parents[2] / "policies" / "exemplars"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("kak nakachat bitsuhu", "как накачать бицуху"),
        ("Kak rabotaet holodilnik?", "как работает холодильник?"),
        ("a pochemu zadnyaya stenka goryachaya?", "а почему задняя стенка горячая?"),
        ("chto takoe entropiya", "что такое энтропия"),
        ("kto napisal voynu i mir", "кто написал войну и мир"),
        ("skolko stoit novyj telefon", "сколько стоит новый телефон"),
        ("mozhno li pit' kofe posle obeda", "можно ли пить кофе после обеда"),
        ("gde nahoditsya samoe glubokoe ozero", "где находится самое глубокое озеро"),
        ("pochemu sovetskij soyuz raspalsya", "почему советский союз распался"),
    ],
)
def test_russian_in_latin_letters_is_written_in_cyrillic(typed: str, meant: str) -> None:
    assert respell(typed) == meant


@pytest.mark.parametrize(
    "text",
    [
        "why is the sky blue",
        "my cat is not eating, est. 2 days",
        "Kafka on the shore: what is it about?",
        "jak zrobić pizzę w domu",
        "kako da naučim voziti bicikl",
        "wie backe ich einen Kuchen ohne Eier",
        "cómo se hace una tortilla de patatas",
        "comment faire un gâteau sans œufs",
        "hoe kan ik een fiets repareren",
        "come si cucina la carbonara",
        "select name from users where id = 1",
        "kto to jest",
        "gde mogu da kupim kartu za voz",
        "za sta sluzi ova kutija",
        "nasil ekmek yapilir",
        "git rebase -i HEAD~3",
        "привет, kak дела",  # two scripts: somebody has a Cyrillic keyboard
        "",
        "12345 !!! 🙂",
    ],
)
def test_everything_else_is_left_as_it_is(text: str) -> None:
    assert respell(text) == text


def test_no_english_exemplar_is_taken_for_russian() -> None:
    rows = [
        json.loads(line) for file in EXEMPLARS.glob("*.jsonl") for line in file.read_text("utf-8").splitlines()
    ]
    english = [row["text"] for row in rows if row["lang"] == "en"]
    assert len(english) > 1000
    assert [text for text in english if is_transliterated(text)] == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("пpоизводная", "производная"),  # a Latin p
        ("Kвантовая механика", "квантовая механика"),
        ("phуsics", "physics"),  # a Cyrillic у
        ("физи\u200bка", "физика"),
        ("за\u0301мок", "замок"),
    ],
)
def test_a_word_is_in_one_script(typed: str, meant: str) -> None:
    assert respell(typed) == meant


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ПОЧЕМУ НЕБО ГОЛУБОЕ?", "почему небо голубое?"),
        ("WHY IS THE SKY BLUE", "why is the sky blue"),
        ("KAK NAKACHAT BITSUHU", "как накачать бицуху"),
        ("Что такое HTTP?", "Что такое HTTP?"),
        ("JSON", "JSON"),
    ],
)
def test_shouting_is_lowered_and_abbreviations_are_not(typed: str, meant: str) -> None:
    assert respell(typed) == meant


@pytest.mark.parametrize("text", ["SQL-запрос", "COVID-19 в России", "USB и HDMI", "git-ветка", "API-ключ"])
def test_words_of_two_scripts_on_purpose_stay(text: str) -> None:
    """Some letter of theirs has no twin in the other script, so nobody mistook the keyboard."""
    assert respell(text) == text
