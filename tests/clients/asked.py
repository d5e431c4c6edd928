"""What every client is made to ask, and who must answer: by the prompt, by the mode in `model`, by a directive."""

from __future__ import annotations

import pytest

PHYSICS, SPORT, ACADEMIC = "core=1.0,physics=0.8", "core=1.0,sport=0.8", "academic=1.0"
SKY = "Why is the sky blue?"
DIRECTIVE = "включить режим: физика+агоге\nПочему лёд плавает?"
ISOLATED = "режим: академический\nExplain the impact of social media on attention."
BY_PROMPT = [(SKY, PHYSICS), ("Как подготовиться к марафону?", SPORT), (DIRECTIVE, PHYSICS), (ISOLATED, ACADEMIC)]
CASES = [
    ("auto", SKY, PHYSICS),
    ("physics+core", "Hello.", PHYSICS),
    ("academic", SKY, ACADEMIC),
    ("auto", DIRECTIVE, PHYSICS),
    ("auto", ISOLATED, ACADEMIC),
]
asked = pytest.mark.parametrize(("model", "text", "adapters"), CASES)


def weights(adapters: str) -> dict[str, float]:
    """Return the header `core=1.0,physics=0.8` as the body writes it."""
    return {name: float(weight) for name, _, weight in (each.partition("=") for each in adapters.split(","))}
