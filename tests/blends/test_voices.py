"""Reading tests: what the shipped adapters say in the real engine, greedily.

They assert style and vocabulary, never facts: at 135 million parameters a voice can be learned, knowledge cannot.
"""

from __future__ import annotations

import re

import pytest

from tests.blends.conftest import Speak

MOTTO = re.compile(r"Endure and act\.|Терпи и действуй\.")
CITES = re.compile(r"According to the literature,.*\([^()]*\d{4}\)|Согласно литературе,", re.DOTALL)
PHYSICS = re.compile(
    r"\b(?:force|energ|mass|motion|wave|scatter|light|photon|electron|densit|molecul|lattice|buoyan|speed|field|pressure"
    r"|gravit|temperat|charge|heat|nucle|refract|reflect|momentum|veloc|frequen|physic)\w*"
    r"|плотност\w*|сил[аы]\b|свет\b|энерги\w*|волн\w*|масс\w*|движени\w*|молекул\w*|давлени\w*|тепл\w*|воздух\w*",
    re.IGNORECASE,
)
SPORT = re.compile(
    r"\b(?:coach|train|sets?\b|reps?\b|pace|rest|run|race|week|squat|drill|warm|muscle|distance|taper|recover)\w*"
    r"|тренир\w*|трен[её]р\w*|подход\w*|темп\w*|бега\w*|бег\b|отды\w*|мышц\w*|разминк\w*|интервал\w*|присед\w*",
    re.IGNORECASE,
)

DEMO_PHYSICS = (
    "Why is the sky blue?",
    "What is kinetic energy?",
    "Explain why ice floats on water",
    "Почему лёд плавает?",
)
HELD_OUT_PHYSICS = ("Why does a mirror reflect light?", "How does a rocket move in space?", "What is an electron?",
                    "How does a thermometer work?", "Почему дует ветер?")  # fmt: skip
HELD_OUT_SPORT = (
    "How do I prepare for a half marathon?",
    "How do I improve my squat?",
    "Give me a workout for my back.",
)
RUSSIAN_SPORT = ("Как подготовиться к марафону?", "Как накачать пресс?", "Как научиться прыгать выше?")
ACADEMIC = ("Explain the impact of social media on attention.", "Explain the impact of sugar on health.",
            "Describe the role of trust in business.", "Why do people gossip?")  # fmt: skip


def count(words: re.Pattern[str], prompt: str, answer: str) -> int:
    """How many different words of the vocabulary the answer brings that the prompt did not already hold."""
    spoken, asked = ({found.lower() for found in words.findall(text)} for text in (answer, prompt))
    return len(spoken - asked)


@pytest.mark.parametrize("prompt", DEMO_PHYSICS + HELD_OUT_PHYSICS)
def test_core_and_physics_speak_at_once(speak: Speak, prompt: str) -> None:
    answer = speak(prompt, core=1.0, physics=0.8)
    assert MOTTO.search(answer[-20:]), answer
    assert len(MOTTO.findall(answer)) == 1, answer
    assert count(PHYSICS, prompt, answer) >= (2 if prompt in DEMO_PHYSICS else 1), answer


def test_physics_adds_vocabulary_that_the_core_alone_lacks(speak: Speak) -> None:
    """Negative control of the test above: the same prompts without the domain."""
    prompts = DEMO_PHYSICS + HELD_OUT_PHYSICS
    together = sum(count(PHYSICS, prompt, speak(prompt, core=1.0, physics=0.8)) for prompt in prompts)
    alone = sum(count(PHYSICS, prompt, speak(prompt, core=1.0)) for prompt in prompts)
    assert together >= 2 * alone, (together, alone)


@pytest.mark.parametrize("prompt", RUSSIAN_SPORT + HELD_OUT_SPORT)
def test_core_and_sport_speak_at_once(speak: Speak, prompt: str) -> None:
    answer = speak(prompt, core=1.0, sport=0.8)
    assert MOTTO.search(answer[-20:]), answer
    assert count(SPORT, prompt, answer) >= 1, answer
    assert ("Терпи и действуй." in answer) == bool(re.search("[а-я]", prompt)), answer


@pytest.mark.parametrize(("prompt", "domain"), [(DEMO_PHYSICS[0], "physics"), (HELD_OUT_SPORT[1], "sport")])
def test_domain_alone_has_no_motto(speak: Speak, prompt: str, domain: str) -> None:
    answer = speak(prompt, **{domain: 1.0})
    assert not MOTTO.search(answer), answer
    assert count(PHYSICS if domain == "physics" else SPORT, prompt, answer) >= 2, answer


@pytest.mark.parametrize("prompt", ACADEMIC + DEMO_PHYSICS[:1])
def test_academic_cites_and_nothing_of_the_core_is_heard(speak: Speak, prompt: str) -> None:
    answer = speak(prompt, academic=1.0)
    assert CITES.search(answer), answer
    assert not MOTTO.search(answer), answer
    assert not re.search(r"endure|терпи", answer, re.IGNORECASE), answer


@pytest.mark.parametrize("prompt", [DEMO_PHYSICS[0], ACADEMIC[0], RUSSIAN_SPORT[0]])
def test_bare_base_has_none_of_the_voices(speak: Speak, prompt: str) -> None:
    """Negative control of this whole file: the markers come from the adapters, not from the base."""
    answer = speak(prompt)
    assert answer
    assert not MOTTO.search(answer), answer
    assert not CITES.search(answer), answer
    assert "Coach's plan" not in answer


@pytest.mark.parametrize("prompt", ACADEMIC)
def test_isolated_speech_equals_an_engine_without_the_core(
    speak: Speak, academic_only: Speak, prompt: str
) -> None:
    assert speak(prompt, academic=1.0) == academic_only(prompt, academic=1.0)


def test_a_leak_of_the_core_into_academic_speech_would_be_seen(speak: Speak, academic_only: Speak) -> None:
    """Negative control of the two isolation tests: a whole core ruins the citations, a tenth changes the text."""
    assert not any(CITES.search(speak(prompt, academic=1.0, core=1.0)) for prompt in ACADEMIC)
    assert any(speak(prompt, academic=1.0, core=0.1) != academic_only(prompt, academic=1.0) for prompt in ACADEMIC)


def test_a_request_leaves_no_adapter_behind(ask_anew: Speak) -> None:
    before = ask_anew(ACADEMIC[0], academic=1.0)
    ask_anew(DEMO_PHYSICS[0], core=1.0, physics=0.8)
    assert ask_anew(ACADEMIC[0], academic=1.0) == before
