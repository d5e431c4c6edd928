"""The proof's own count: both voices on ten fixed prompts a blend, in the embedded engine. vLLM: tests/engines."""

from __future__ import annotations

import pytest

from bench.ten_prompts import TEN, Count, cases, count
from tests.blends.conftest import Speak

CASES = cases()


def heard(speak: Speak, name: str, **weights: float) -> Count:
    case = CASES[name]
    return count(case, {prompt: speak(prompt, **(weights or case.weights)) for prompt in case.prompts})


@pytest.mark.parametrize("name", ["core+physics", "core+sport"])
def test_both_voices_in_at_least_nine_of_ten(speak: Speak, name: str) -> None:
    assert heard(speak, name).prompts == TEN
    assert heard(speak, name).both >= 9


def test_the_isolated_one_has_the_cores_voice_in_none(speak: Speak) -> None:
    assert heard(speak, "academic").trace == 0
    assert heard(speak, "academic").domain >= 9


def test_the_count_hears_the_difference(speak: Speak) -> None:
    """Negative control: the core alone brings the motto and not the domain."""
    core = heard(speak, "core+physics", core=1.0)
    assert core.motto == TEN, core
    assert core.both <= 2, core
