"""Greetings and thanks go, what was asked stays, word for word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.core.courtesy import without_courtesy
from router.core.subject import subject_of

EXEMPLARS = Path(__file__).resolve().parents[2] / "policies" / "exemplars"


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("Привет! Подскажите, пожалуйста, как сварить борщ? Заранее спасибо!", "как сварить борщ?"),
        ("Добрый день. Скажи, почему небо голубое", "почему небо голубое"),
        ("у меня вопрос: что такое энтропия? Спасибо за помощь", "что такое энтропия?"),
        ("hi, could you please tell me why the sky is blue? thanks", "why the sky is blue?"),
        ("Hello there! Please explain entropy", "explain entropy"),
        ("solve x+1=2, thank you in advance!", "solve x+1=2"),
        ("What is a quark? Many thanks, have a nice day", "What is a quark?"),
        ("good morning", ""),
        ("большое спасибо!!!", ""),
        ("Спасибо 🙏", ""),
    ],
)
def test_courtesies_are_taken_off(said: str, asked: str) -> None:
    assert without_courtesy(said) == asked


@pytest.mark.parametrize(
    "text",
    [
        "how to please my boss",
        "What's up with inflation?",
        "tell me a joke",
        "Скажи скороговорку",
        "откуда пошло слово спасибо и что оно значит",
        "hire a lawyer or not",
        "Thanksgiving recipes",
        "здоровое питание для детей",
        "Heyerdahl and the Kon-Tiki",
    ],
)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert without_courtesy(text) == text


POLITE = [
    ("ru", "Привет! {}"),
    ("ru", "Здравствуйте, {}"),
    ("ru", "Подскажите, пожалуйста, {}"),
    ("ru", "{} Спасибо!"),
    ("ru", "{} Заранее благодарю."),
    ("ru", "Добрый вечер! {} Буду благодарен за ответ."),
    ("en", "Hi! {}"),
    ("en", "Hello, {}"),
    ("en", "Please {}"),
    ("en", "{} Thanks!"),
    ("en", "{} Thank you so much in advance."),
    ("en", "Good morning, quick question: {} Cheers"),
]


@pytest.mark.parametrize(("lang", "polite"), POLITE)
def test_politeness_changes_no_subject(lang: str, polite: str) -> None:
    """The same text reaches the classifier, so the same label comes out: of 98 % of the exemplars at least."""
    rows = [
        json.loads(line) for file in EXEMPLARS.glob("*.jsonl") for line in file.read_text("utf-8").splitlines()
    ]
    texts = [row["text"] for row in rows if row["lang"] == lang and row["label"] != "general"][::3]
    same = sum(subject_of(polite.format(text)).text == subject_of(text).text for text in texts)
    assert len(texts) > 300
    assert same / len(texts) >= 0.98
