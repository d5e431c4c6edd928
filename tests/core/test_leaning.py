"""Which prompts bring their own subject, which half of one, which none."""

from __future__ import annotations

import pytest

from router.core.leaning import LOOK, Leaning, leaning

WHOLLY = [
    "подробнее",
    "а подробнее?",
    "почему?",
    "расскажи ещё",
    "приведи пример",
    "покороче",
    "не понял, можно проще?",
    "продолжай",
    "а если нет?",
    "why?",
    "tell me more",
    "make it shorter",
    "continue",
    "and then?",
    "can you explain that",
    "how come",
    "are you sure?",
    "give me an example",
    "",
    "?!",
    "🙂",
    "42",
    "ок, понял",
]
PARTLY = [
    "а в вакууме?",
    "и сколько варить рис?",
    "а муравьи?",
    "and for gold?",
    "what about Kyoto",
    "а Ельцин?",
    "does it work with induction",
    "а как насчёт налогов",
]
NOT = [
    "почему небо голубое?",
    "как сварить прозрачный куриный бульон",
    "why is the sky blue",
    "what is a quark",
    "что такое энтропия",
    "кто такой Юрий Долгорукий",
    "вернёмся к питону: а словари?",
    "back to the marathon: and rest?",
    "difference between let and var in javascript",
]


@pytest.mark.parametrize(
    ("text", "leans"),
    [
        *((text, Leaning.WHOLLY) for text in WHOLLY),
        *((text, Leaning.PARTLY) for text in PARTLY),
        *((text, Leaning.NOT) for text in NOT),
        ("tell me a joke", Leaning.SHORT),
        ("расскажи анекдот", Leaning.SHORT),
    ],
)
def test_leaning(text: str, leans: Leaning) -> None:
    assert leaning(text) is leans


def test_a_long_message_stands_whatever_its_words() -> None:
    assert leaning("а это " * LOOK) is Leaning.NOT
