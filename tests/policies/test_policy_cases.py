"""Cases: what they say is what is asked of decide, and a wrong expectation fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.core.policy import Policies
from router.core.scores import Scores
from router.policy_cases import Case, cases_beside, load_cases, run_cases
from router.policy_file import load_policies

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def team() -> Policies:
    return load_policies(ROOT / "policies/examples/team.yaml")


def test_a_case_holds_what_the_file_says(tmp_path: Path, team: Policies) -> None:
    path = tmp_path / "some.cases.yaml"
    path.write_text(
        "- name: one\n"
        "  tenant: clinic\n"
        "  role: editor\n"
        "  scores: { physics: 0.25, sport: 0 }\n"
        "  out_of_domain: true\n"
        "  asked: [core, physics]\n"
        "  expect: { adapters: { core: 1, physics: 0.8 } }\n"
        "- name: two\n"
        "  expect: { error: contradiction }\n"
        "- name: three\n"
        "  asked: []\n"
        "  expect: { error: unknown_mode }\n"
    )
    one, two, three = load_cases(path, team)
    scores = Scores({"physics": 0.25, "sport": 0.0}, out_of_domain=True)
    expected = {"core": 1.0, "physics": 0.8}
    assert one == Case("one", "clinic", "editor", scores, frozenset({"core", "physics"}), expected, None, 1)
    assert two == Case("two", "default", None, Scores(), None, None, "contradiction", 8)
    assert three.asked == frozenset()
    assert [outcome.passed for outcome in run_cases(team, [one, two, three])] == [True, False, True]


@pytest.mark.parametrize(
    ("adapters", "error", "passed"),
    [
        ({"core": 1.0, "physics": 0.8}, None, True),
        ({"core": 1.0, "physics": 0.80001}, None, False),  # another weight
        ({"core": 1.0}, None, False),  # one speaks that is not expected
        ({"core": 1.0, "physics": 0.8, "sport": 0.8}, None, False),  # one is expected and does not speak
        (None, "contradiction", False),
    ],
)
def test_only_exactly_the_expected_speakers_pass(
    team: Policies, adapters: dict[str, float] | None, error: str | None, passed: bool
) -> None:
    case = Case("x", "default", None, Scores({"physics": 0.9}), None, adapters, error)
    (outcome,) = run_cases(team, [case])
    assert outcome.passed is passed
    assert outcome.got() == "core=1.0,physics=0.8 (core: always; physics: physics 0.90 >= 0.55)"


def test_a_refusal_passes_only_by_its_code(team: Policies) -> None:
    cases = [
        Case("right", "default", None, Scores(), frozenset({"academic"}), None, "mode_forbidden"),
        Case("other", "default", None, Scores(), frozenset({"academic"}), None, "contradiction"),
        Case("none", "default", None, Scores(), frozenset({"academic"}), {"academic": 1.0}, None),
    ]
    outcomes = run_cases(team, cases)
    assert [outcome.passed for outcome in outcomes] == [True, False, False]
    assert outcomes[2].got() == (
        "mode_forbidden (you may not ask for academic; you may ask for core, law, medicine, physics, sport)"
    )


def test_the_cases_lie_beside_the_policy() -> None:
    assert cases_beside(Path("a/b.yaml")) == Path("a/b.cases.yaml")
