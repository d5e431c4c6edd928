"""What is kept, computed by hand from made-up losses; the bootstrap against the textbook's standard error."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from blends.behaviour import Text, Texts, gained, kept, read_texts, remembered
from blends.recipe import RecipeInvalid
from tests.blends.conftest import ADAPTERS

ALONE = tuple((f"q{n}", f"a{n}") for n in range(4))
TOGETHER = tuple((f"q{n}", f"a{n} motto") for n in range(4))


class Losses:
    """Says for each set of adapters what each text costs, and writes down what it was asked."""

    def __init__(self, costs: Mapping[tuple[str, ...], Sequence[float]]) -> None:
        self.costs, self.asked = costs, []  # type: ignore[var-annotated]

    def __call__(self, texts: Sequence[Text], weights: Mapping[str, float]) -> NDArray[np.float64]:
        self.asked.append((tuple(texts), dict(weights)))
        return np.array(self.costs[tuple(sorted(weights))], float)


def test_kept_is_the_gain_in_company_over_the_gain_alone() -> None:
    """Base 4 on its own text, 1 alone: gain 3. Together with the core 2.1 below the base's loss: 70 % kept."""
    losses = Losses({(): [4, 4, 4, 4], ("physics",): [1, 1, 1, 1], ("core", "physics"): [1.9] * 4})
    found = kept(Texts("physics", ALONE, TOGETHER, "core"), {"core": 1.0, "physics": 0.8}, losses)
    assert found.kept == pytest.approx(0.7)
    assert (found.low, found.high) == pytest.approx((0.7, 0.7))  # every text says the same
    assert found.lost == pytest.approx(0.3)
    assert losses.asked == [
        (ALONE, {}),
        (ALONE, {"physics": 1.0}),
        (TOGETHER, {}),
        (TOGETHER, {"core": 1.0, "physics": 0.8}),
    ]


@pytest.mark.parametrize(
    ("texts", "company", "spoken"),
    [
        (Texts("physics", ALONE, TOGETHER, "core"), ("core",), TOGETHER),
        (Texts("physics", ALONE, TOGETHER, "core"), ("sport",), ALONE),  # no core, no motto
        (Texts("physics", ALONE, TOGETHER, "core"), ("core", "sport"), TOGETHER),
        (Texts("physics", ALONE, TOGETHER, None), ("somebody",), TOGETHER),
        (Texts("core", ALONE), ("physics",), ALONE),
    ],
)
def test_the_together_text_is_spoken_beside_its_core(
    texts: Texts, company: tuple[str, ...], spoken: tuple[Text, ...]
) -> None:
    assert texts.beside(company) == spoken


def test_an_adapter_that_gains_nothing_alone_has_nothing_to_keep() -> None:
    losses = Losses({(): [1, 2, 3, 4], ("clown",): [2, 2, 3, 4], ("clown", "core"): [1, 1, 1, 1]})
    found = kept(Texts("clown", ALONE), {"core": 1.0, "clown": 1.0}, losses)
    assert found.kept is None
    assert found.lost == 0.0  # it is not worse off in company
    worse = Losses({(): [1, 2, 3, 4], ("clown",): [2, 2, 3, 4], ("clown", "core"): [9, 9, 9, 9]})
    assert kept(Texts("clown", ALONE), {"core": 1.0, "clown": 1.0}, worse).lost == 1.0


def test_a_gain_in_company_is_no_negative_loss() -> None:
    losses = Losses({(): [4, 4, 4, 4], ("core",): [2, 2, 2, 2], ("core", "physics"): [1, 1, 1, 1]})
    found = kept(Texts("core", ALONE), {"core": 1.0, "physics": 0.8}, losses)
    assert (found.kept, found.lost) == (pytest.approx(1.5), 0.0)


def test_interval_of_a_gain_is_the_textbooks() -> None:
    """Percentile bootstrap of a mean of 400 differences: mean +- 1.96 standard errors."""
    chance = np.random.default_rng(3)
    base = chance.normal(5, 1, 400)
    gain = chance.normal(1, 0.5, 400)
    losses = Losses({(): list(base), ("core",): list(base - gain)})
    texts = tuple((str(n), "a") for n in range(400))
    found = gained(texts, {"core": 1.0}, losses)
    error = 1.96 * gain.std() / 20
    assert found.gain == pytest.approx(gain.mean())
    assert (found.low, found.high) == pytest.approx((gain.mean() - error, gain.mean() + error), abs=0.008)
    assert found == gained(texts, {"core": 1.0}, losses)  # seeded
    assert found != gained(texts, {"core": 1.0}, losses, seed=21)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """True share 0.8, 18 texts, 200 worlds. Small samples make a percentile bootstrap a little too narrow."""
    hits = 0
    for world in range(200):
        chance = np.random.default_rng(world)
        gain = chance.normal(2, 0.4, 18)
        noise = chance.normal(0, 0.3, 18)
        losses = Losses({(): [4.0] * 18, ("a",): list(4 - gain), ("a", "b"): list(4 - 0.8 * gain - noise)})
        found = kept(Texts("a", tuple((str(n), "a") for n in range(18))), {"a": 1.0, "b": 1.0}, losses)
        hits += found.low <= 0.8 <= found.high
    assert 0.86 <= hits / 200 <= 0.99


def test_nothing_is_computed_twice() -> None:
    losses = Losses({(): [1.0] * 4, ("core",): [0.5] * 4})
    recall = remembered(losses)
    for _ in range(2):
        assert list(recall(ALONE, {"core": 1.0})) == [0.5] * 4
        assert list(recall(ALONE, {})) == [1.0] * 4
    assert len(losses.asked) == 2
    recall(ALONE, {"core": 0.5})  # another weight is another question
    assert len(losses.asked) == 3


def test_texts_beside_an_adapter_are_read_with_their_core(tmp_path: Path) -> None:
    physics = read_texts("physics", ADAPTERS / "physics")
    assert (physics.core, len(physics.alone)) == ("core", len(physics.with_core or ()))
    assert read_texts("core", ADAPTERS / "core").with_core is None
    rows = [{"lang": "en", "prompts": ["q"], "answer": "a", "with_core": "b"}]
    (tmp_path / "heldout.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read_texts("bought", tmp_path) == Texts("bought", (("q", "a"),), (("q", "b"),), None)


def test_missing_and_mixed_texts_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeInvalid, match="questions that are never trained on"):
        read_texts("bought", tmp_path)
    rows = [
        {"lang": "en", "prompts": ["q"], "answer": "a", "with_core": "b"},
        {"lang": "en", "prompts": ["q2"], "answer": "a"},
    ]
    (tmp_path / "heldout.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(RecipeInvalid, match="row 2 needs 'with_core'"):
        read_texts("bought", tmp_path)
