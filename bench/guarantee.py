"""Does the guarantee of `agoge classifier calibrate` hold? Many calibrations, each against a truth it did not see.

`python -m bench.guarantee --data A.jsonl [--data B.jsonl] [--splits 200] [--error 0.05] [--confidence 0.95]`

The rows of all files make one pool. Two questions, for each of which the share of calibrations that kept the bound
is printed by language:

- population: calibration rows are drawn from the pool with replacement, half as many as it has. The pool is then
  the population, and its risk is the truth, without noise. The guarantee speaks of this share.
- split: the pool is cut in two at random, and the gates of one half are counted on the other. That half's own luck
  comes on top, and what the first half had too little of the second has too much of, so this share may fall below
  the confidence while the guarantee holds.

Beside both stands a naive choice: the most lenient gates whose risk on the calibration rows is within the bound.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import classifiers
from classifiers.calibrate import CATCH_ALL, CONFIDENCE, ERROR
from classifiers.fixed_sequence import Counted, count, last_passed, start_of
from classifiers.gates import Judged, Ladder, fit_ladder
from classifiers.judging import held_out, predicted
from classifiers.rows import unseen

Choose = Callable[[Judged], int | None]
Draw = Callable[[np.random.Generator, int], tuple[NDArray[np.intp], NDArray[np.intp]]]


def with_replacement(random: np.random.Generator, rows: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Half as many rows as there are, drawn from all; judged on all."""
    return random.integers(0, rows, rows // 2), np.arange(rows)


def in_two(random: np.random.Generator, rows: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """A random half, judged on the other."""
    order = random.permutation(rows)
    return order[: rows // 2], order[rows // 2 :]


def naive(counts: dict[str, Counted], error: float) -> int | None:
    """The most lenient step whose risk on these very rows is within the bound."""
    kept = np.all([(wrong <= error * routed) & (routed > 0) for routed, wrong in counts.values()], axis=0)
    return int(np.flatnonzero(kept)[-1]) if kept.any() else None


def measure(pool: Judged, ladder: Ladder, choose: Choose, draw: Draw, splits: int, error: float) -> None:
    """Print, by language, the share of draws that kept the bound, and what was routed."""
    random = np.random.default_rng(0)
    langs = sorted(set(pool.langs.tolist()))
    kept: dict[str, list[bool]] = {lang: [] for lang in langs}
    risks: dict[str, list[float]] = {lang: [] for lang in langs}
    coverages: dict[str, list[float]] = {lang: [] for lang in langs}
    none = 0
    for _ in range(splits):
        inside, outside = draw(random, len(pool))
        step = choose(pool.take(inside))
        none += step is None
        judged = pool.take(outside)
        for lang, (routed, wrong) in count(judged, ladder).items():
            opened, missed = (0, 0) if step is None else (int(routed[step]), int(wrong[step]))
            kept[lang].append(missed <= error * opened)
            coverages[lang].append(opened / int((judged.langs == lang).sum()))
            if opened:
                risks[lang].append(missed / opened)
    for lang in langs:
        risk = f"{np.mean(risks[lang]):.4f}" if risks[lang] else "-"
        print(
            f"    {lang}: kept in {100 * np.mean(kept[lang]):5.1f} %, "
            f"routed {100 * np.mean(coverages[lang]):4.1f} %, risk where gates passed {risk}"
        )
    every = np.all([kept[lang] for lang in langs], axis=0).mean()
    print(
        f"    all languages at once: kept in {100 * every:5.1f} %; no gates passed in {100 * none / splits:.1f} %"
    )


def main() -> None:
    """Classify once, then draw, calibrate and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--error", type=float, default=ERROR)
    parser.add_argument("--confidence", type=float, default=CONFIDENCE)
    parser.add_argument("--only", action="append", help="a label that opens a domain; else all but general")
    parser.add_argument("--classifier", type=Path, default=Path(".agoge/classifier"))
    parser.add_argument("--exemplars", type=Path, default=Path("policies/exemplars"))
    options = parser.parse_args()
    classifier = classifiers.ensure(options.classifier, options.exemplars)
    opening = options.only or [label for label in classifier.labels if label != CATCH_ALL]
    ignored = [label for label in classifier.labels if label not in opening]
    given = [row for file in options.data for row in classifiers.read_rows(file)]
    rows = unseen(given, classifier.rows)
    pool, laid = predicted(classifier, rows, ignored), held_out(classifier, ignored)
    ladder = fit_ladder(laid, len(classifier.labels))

    def tested(drawn: Judged) -> int | None:
        langs, numbers = np.unique(drawn.langs, return_counts=True)
        sizes = dict(zip(langs.tolist(), numbers.tolist(), strict=True))
        start = start_of(laid, ladder, sizes, options.error, options.confidence)
        return last_passed(count(drawn, ladder), start, options.error, options.confidence)

    names = ", ".join(file.name for file in options.data)
    print(f"{len(rows)} rows of {names}; error {options.error:g}, confidence {options.confidence:g}")
    for title, draw in (("population", with_replacement), ("split", in_two)):
        print(f"  {title}, {options.splits} draws")
        measure(pool, ladder, tested, draw, options.splits, options.error)
        print(f"  {title}, the naive choice instead")
        measure(
            pool,
            ladder,
            lambda drawn: naive(count(drawn, ladder), options.error),
            draw,
            options.splits,
            options.error,
        )


if __name__ == "__main__":
    main()
