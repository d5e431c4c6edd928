"""What `agoge adapter check` demands, on made-up losses and answers with known figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from blends.behaviour import Text, Texts
from blends.checkup import Limits, Subject, examine_alone, examine_beside, examine_leak

OWN = tuple((f"own {n}", "a") for n in range(6))
CORES = tuple((f"core {n}", "a") for n in range(6))
CORE = Subject(Texts("core", CORES), 1.0, ("Go on.",))
CHESS = Subject(Texts("chess", OWN, OWN, "core"), 0.8, ("On the board",))
OUTSIDE = Subject(Texts("outside", OWN), 1.0, ("For the record",))


def losing(**costs: float) -> object:
    """Losses by "speakers on whose texts"; the base costs 4 everywhere."""

    def losses(texts: Sequence[Text], weights: Mapping[str, float]) -> NDArray[np.float64]:
        key = f"{'_'.join(sorted(weights))}_on_{texts[0][0].split()[0]}"
        jitter = np.linspace(-0.1, 0.1, len(texts))
        return np.full(len(texts), 4.0) if not weights else costs[key] + jitter

    return losses


def saying(answer: str) -> object:
    return lambda prompts, weights: [answer] * len(prompts)


def test_a_core_that_learned_passes_and_one_that_did_not_fails() -> None:
    good = examine_alone(CORE, losing(core_on_core=1.0), saying("So. GO ON."), Limits(), 10)
    assert [finding.passed for finding in good] == [True, True]
    assert good[0].value == pytest.approx(0.75)
    assert good[0].low is not None
    assert good[0].low <= 0.75 <= good[0].high
    assert good[1].said == "6 of 6 answers"
    bad = examine_alone(CORE, losing(core_on_core=3.9), saying("Well."), Limits(), 4)
    assert [finding.passed for finding in bad] == [False, False]
    assert bad[1].said == "0 of 4 answers"


def test_a_gain_whose_interval_holds_zero_is_no_gain() -> None:
    """Large on average and noise all the same."""

    def losses(texts: Sequence[Text], weights: Mapping[str, float]) -> NDArray[np.float64]:
        return np.array([4.0] * 6 if not weights else [-20, 8, 7, 9, 6, 8.0])

    (finding,) = examine_alone(Subject(Texts("core", CORES)), losses, saying(""), Limits(), 3)
    assert finding.value > 0.2
    assert not finding.passed


@pytest.mark.parametrize(
    ("together", "cores", "said", "verdicts"),
    [
        (1.2, 1.1, {"both": "On. Go on.", "chess": "On."}, [True, True, True, True]),
        (3.5, 1.1, {"both": "On. Go on.", "chess": "On."}, [False, True, True, True]),  # the domain is drowned
        (1.2, 3.5, {"both": "On. Go on.", "chess": "On."}, [True, False, True, True]),  # the voice is drowned
        (1.2, 1.1, {"both": "On.", "chess": "On."}, [True, True, False, True]),  # nobody hears the core
        (1.2, 1.1, {"both": "Go on.", "chess": "Go on."}, [True, True, True, False]),  # the domain says it alone
    ],
)
def test_a_domain_and_its_core_keep_what_they_gain(
    together: float, cores: float, said: Mapping[str, str], verdicts: list[bool]
) -> None:
    seen: list[Mapping[str, float]] = []

    def answers(prompts: Sequence[str], weights: Mapping[str, float]) -> list[str]:
        seen.append(dict(weights))
        return [said["both" if len(weights) > 1 else "chess"]] * len(prompts)

    losses = losing(chess_on_own=1.0, core_on_core=1.0, chess_core_on_own=together, chess_core_on_core=cores)
    found = examine_beside(CHESS, CORE, losses, answers, Limits(), 10)
    assert [finding.passed for finding in found] == verdicts
    assert found[0].value == pytest.approx((4 - together) / 3)
    assert seen == [{"core": 1.0, "chess": 0.8}, {"chess": 1.0}]  # together at the serving weights


@pytest.mark.parametrize(
    ("loss", "answer", "verdicts"),
    [
        (4.2, "For the record.", [True, True]),
        (3.4, "For the record.", [True, True]),  # 20 % of the core's gain: short sentences are alike
        (2.5, "For the record.", [False, True]),
        (4.2, "For the record. Go on.", [True, False]),
    ],
)
def test_an_isolated_adapter_neither_knows_nor_says_what_is_the_cores(
    loss: float, answer: str, verdicts: list[bool]
) -> None:
    asked: list[str] = []

    def answers(prompts: Sequence[str], weights: Mapping[str, float]) -> list[str]:
        assert weights == {"outside": 1.0}
        asked.extend(prompts)
        return [answer] * len(prompts)

    found = examine_leak(OUTSIDE, CORE, losing(core_on_core=1.0, outside_on_core=loss), answers, Limits(), 5)
    assert [finding.passed for finding in found] == verdicts
    assert found[0].value == pytest.approx(max(0, 4 - loss) / 3)
    assert asked == [f"core {n}" for n in range(5)] + [f"own {n}" for n in range(5)]  # where it would be heard
    assert found[1].said.startswith("10 of 10" if "Go on" in answer else "0 of 10")
