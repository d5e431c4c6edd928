"""What adapters can still do when others speak with them, on texts that no training saw. Knows numpy and texts.

Loss is the mean over a text's answer tokens, then over texts, in nats. An adapter's gain is what it takes off the
base's loss on its own held-out texts. `kept` is the gain in company over the gain alone:

    kept = (L_base(together text) - L_together(together text)) / (L_base(alone text) - L_alone(alone text))

where the together text is a row's `with_core`, if it has one and its core is in the company, else the same answer.
The alone text is spoken at weight 1, as it was trained; the company speaks at the blend's weights. Intervals are
95 % percentile bootstraps over texts, seeded. How a loss is computed somebody else knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blends.recipe import read_heldout

RESAMPLES = 2000
SEED = 20
INTERVAL = (2.5, 97.5)

Text = tuple[str, str]
"""(prompt, answer)"""

Losses = Callable[[Sequence[Text], Mapping[str, float]], NDArray[np.float64]]
"""Mean loss of each text's answer, nats a token, when these adapters speak at these weights: (texts,)."""


@dataclass(frozen=True, slots=True)
class Texts:
    """An adapter's held-out texts: what it says alone and, if it was trained beside a core, with it."""

    name: str
    alone: tuple[Text, ...]
    with_core: tuple[Text, ...] | None = None
    core: str | None = None

    def beside(self, others: Sequence[str]) -> tuple[Text, ...]:
        """Return what it should say in this company. An adapter without a recipe takes anybody for its core."""
        joined = self.core in others if self.core is not None else bool(others)
        return self.with_core if self.with_core is not None and joined else self.alone


@dataclass(frozen=True, slots=True)
class Kept:
    """How much of its gain the adapter `name` keeps beside `others`, with the four mean losses behind it.

    `kept` is None where the adapter alone gains nothing on its own texts: there is nothing to keep. `core` is the
    adapter that it was trained beside, if any.
    """

    name: str
    others: tuple[str, ...]
    base_alone: float
    alone: float
    base_together: float
    together: float
    kept: float | None
    low: float
    high: float
    texts: int
    core: str | None = None

    @property
    def lost(self) -> float:
        """The share of its gain that it loses, at least 0. Where it had none: nothing, or all if worse off."""
        if self.kept is None:
            return 0.0 if self.base_together - self.together >= self.base_alone - self.alone else 1.0
        return max(0.0, 1 - self.kept)


def read_texts(name: str, folder: Path) -> Texts:
    """Read `heldout.jsonl` beside the adapter, each row with its first prompt. Raises RecipeInvalid."""
    rows, core = read_heldout(folder)
    alone = tuple((row.prompts[0], row.answer) for row in rows)
    if rows[0].with_core is None:
        return Texts(name, alone, None, core)
    return Texts(name, alone, tuple((row.prompts[0], row.with_core or row.answer) for row in rows), core)


def kept(texts: Texts, weights: Mapping[str, float], losses: Losses, seed: int = SEED) -> Kept:
    """Measure what the adapter of `texts` keeps when all of `weights`, itself included, speak together."""
    others = tuple(sorted(set(weights) - {texts.name}))
    together = texts.beside(others)
    found = np.stack(
        [
            losses(texts.alone, {}),
            losses(texts.alone, {texts.name: 1.0}),
            losses(together, {}),
            losses(together, weights),
        ]
    )
    means = found.mean(axis=1)
    chance = np.random.default_rng(seed)
    picks = chance.integers(found.shape[1], size=(RESAMPLES, found.shape[1]))
    shares = _share(found[:, picks].mean(axis=2))
    share = float(_share(means))
    low, high = np.nanpercentile(shares, INTERVAL) if np.isfinite(shares).any() else (np.nan, np.nan)
    return Kept(
        name=texts.name,
        others=others,
        base_alone=float(means[0]),
        alone=float(means[1]),
        base_together=float(means[2]),
        together=float(means[3]),
        kept=None if np.isnan(share) else share,
        low=float(low),
        high=float(high),
        texts=found.shape[1],
        core=texts.core,
    )


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better than the base some adapters say `texts` texts: mean losses, and the paired difference."""

    base: float
    spoken: float
    gain: float
    low: float
    high: float
    texts: int


def gained(texts: Sequence[Text], weights: Mapping[str, float], losses: Losses, seed: int = SEED) -> Gain:
    """Measure these adapters on `texts` against the base. The interval is of the differences, text by text."""
    base, spoken = losses(texts, {}), losses(texts, weights)
    gain = base - spoken
    picks = np.random.default_rng(seed).integers(len(gain), size=(RESAMPLES, len(gain)))
    low, high = np.percentile(gain[picks].mean(axis=1), INTERVAL)
    return Gain(float(base.mean()), float(spoken.mean()), float(gain.mean()), float(low), float(high), len(gain))


def remembered(losses: Losses) -> Losses:
    """Return the same function, which computes no loss twice: pairs share most of theirs."""
    seen: dict[tuple[tuple[Text, ...], tuple[tuple[str, float], ...]], NDArray[np.float64]] = {}

    def recall(texts: Sequence[Text], weights: Mapping[str, float]) -> NDArray[np.float64]:
        key = tuple(texts), tuple(sorted(weights.items()))
        if key not in seen:
            seen[key] = losses(texts, weights)
        return seen[key]

    return recall


def _share(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """`kept` of (base alone, alone, base together, together) in rows; NaN where the gain alone is not positive."""
    alone, together = losses[0] - losses[1], losses[2] - losses[3]
    return np.where(alone > 0, together / np.where(alone > 0, alone, 1), np.nan)
