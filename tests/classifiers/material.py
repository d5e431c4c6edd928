"""Exemplars written for these tests, and the JSONL they would be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from classifiers import Row

TEXTS = {
    ("cooking", "en"): [
        "How long should I boil eggs?",
        "A recipe for tomato soup with basil",
        "What can replace butter in a cake?",
        "How do I sharpen a kitchen knife?",
        "Why does my bread not rise in the oven?",
        "Best way to fry fish so that it stays crispy",
        "How much salt goes into pasta water?",
    ],
    ("cooking", "ru"): [
        "Как сварить борщ с говядиной?",
        "Сколько минут запекать курицу в духовке?",
        "Чем заменить яйца в тесте?",
        "Рецепт сырников из творога",
        "Как приготовить рассыпчатый рис?",
    ],
    ("physics", "en"): [
        "Why does time slow down near a black hole?",
        "State Newton's second law of motion",
        "What is the wavelength of red light?",
        "How does a transformer change voltage?",
        "Derive the period of a simple pendulum",
        "What is the entropy of an ideal gas?",
        "Why do electrons have spin?",
    ],
    ("physics", "ru"): [
        "Объясни закон Ома",
        "Чему равна скорость света в вакууме?",
        "Что такое квантовая запутанность?",
        "Как найти ускорение тела на наклонной плоскости?",
        "Почему лёд плавает в воде?",
    ],
    ("sport", "en"): [
        "Who won the football world cup in 2018?",
        "How many players are in a volleyball team?",
        "A training plan for my first marathon",
        "What is the offside rule?",
        "Who holds the 100 metres world record?",
        "How is a tennis tie-break scored?",
        "Best exercises for stronger legs before ski season",
    ],
    ("sport", "ru"): [
        "Кто выиграл Кубок Гагарина?",
        "Сколько таймов в хоккейном матче?",
        "Как правильно делать становую тягу?",
        "Правила пенальти в футболе",
        "Сколько длится боксёрский раунд?",
    ],
}
ROWS = [Row(label=label, lang=lang, text=text) for (label, lang), texts in TEXTS.items() for text in texts]


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    """Write rows as the JSONL that a user would write."""
    lines = [
        json.dumps({"text": row.text, "label": row.label, "lang": row.lang}, ensure_ascii=False) for row in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
