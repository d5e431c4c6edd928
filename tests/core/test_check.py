"""check: policies made in code, not read from files, are held to the same rules."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.core.check import check, folded
from router.core.errors import Problem
from router.core.policy import Adapter, Always, WhenLabel
from tests.core.profiles import ACADEMIC, CORE, DRAFT, LAW, PHYSICS, SPORT, TAX, policy


def test_a_sound_policy_has_no_problem() -> None:
    assert check(policy(CORE, PHYSICS, SPORT, LAW, TAX, DRAFT, ACADEMIC)) == []


def test_labels_are_only_compared_when_they_are_known() -> None:
    some = policy(CORE, PHYSICS, SPORT)
    assert check(some, frozenset({"physics", "sport", "law"})) == []
    assert check(some, frozenset({"physics", "maths"})) == [
        Problem("adapters.sport.when.label", "the classifier has no label 'sport'", "known are: maths, physics")
    ]


def test_everything_wrong_is_told_at_once() -> None:
    bad = policy(
        replace(CORE, weight=0.0), replace(PHYSICS, when=WhenLabel("physics", 2.0)), otherwise=("nobody",)
    )
    assert [problem.where for problem in check(bad)] == [
        "adapters.core.weight",
        "adapters.physics.when.at_least",
        "otherwise",
    ]


@pytest.mark.parametrize("weight", [0.0, -0.0, 1e-46, 5e-324, 1e-9, -0.0009, 10.5, float("nan"), float("inf")])
def test_a_weight_that_nobody_could_hear_or_bear_is_refused(weight: float) -> None:
    """An adapter at 1e-46 is one at 0.0 to llama.cpp (float32): the bare base would answer in its name."""
    (problem,) = check(policy(replace(CORE, weight=weight)))
    assert problem.where == "adapters.core.weight"
    assert check(policy(replace(CORE, weight=0.001))) == check(policy(replace(CORE, weight=-10.0))) == []


def test_the_bare_base_is_never_reachable() -> None:
    assert [problem.wrong for problem in check(policy(PHYSICS, ACADEMIC))] == [
        "nobody would speak when no gate opens: the bare base model would answer"
    ]
    assert check(policy(PHYSICS, ACADEMIC, otherwise=("physics",))) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Физика", "физика"),
        ("СЧЁТ", "счет"),
        ("a  b", "A B"),
        ("ﬁt", "fit"),
        ("deep-law", "Deep_Law"),
        ("e\u0308", "ë"),
    ],
)
def test_spoken_names_are_compared_as_people_hear_them(one: str, other: str) -> None:
    assert folded(one) == folded(other)


def test_ten_thousand_blends_are_allowed_and_one_more_is_not() -> None:
    """With at_most 1, a core and n domains there are n + 1 blends."""

    def wide(domains: int) -> list[Problem]:
        named = (Adapter(f"d{i}", f"./{i}", WhenLabel(f"l{i}", 0.5)) for i in range(domains))
        return check(policy(Adapter("core", "./core", Always()), *named, at_most=1))

    assert wide(9_999) == []
    assert [problem.wrong for problem in wide(10_000)] == ["10001 blends would be reachable; 10000 is the limit"]
