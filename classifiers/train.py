"""Labelled rows -> a calibrated classifier. Knows no file and no screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn, has no types

from classifiers.classifier import Classifier
from classifiers.encoders import Encoder, Vectors
from classifiers.errors import RowError
from classifiers.evaluate import figures
from classifiers.folds import FEWEST, split_by_topic
from classifiers.head import (
    NEIGHBOUR_WEIGHT,
    Head,
    Matrix,
    fit_regression,
    fit_temperature,
    log_loss,
    logits_of,
    softmax,
)
from classifiers.held_out import HeldOut
from classifiers.neighbourhood import (
    BANDWIDTH,
    Folds,
    evidence,
    fit_neighbourhood,
    starts_of,
)
from classifiers.progress import Progress, silent
from classifiers.rows import Row

STRENGTHS = (0.3, 1.0, 3.0, 10.0)  # candidates for scikit-learn's C
Split = Callable[[Vectors, NDArray[np.str_], int], Folds]
"""(vectors, labels, seed) -> folds: who is held out together."""

_CHUNK = 64
_TRIAL_TOLERANCE = 1e-3  # half the time of the final fit's 1e-4, for held-out losses equal to 0.2 %


class Trial(NamedTuple):
    """One candidate C: its held-out logits, the temperature fitted on them, and the log loss that remains."""

    loss: float
    strength: float
    temperature: float
    logits: Matrix


def train(
    rows: Sequence[Row],
    encoder: Encoder,
    seed: int = 0,
    progress: Progress = silent,
    split: Split = split_by_topic,
) -> Classifier:
    """Fit a classifier; the order of `rows` does not matter. `split` sees them sorted.

    C and the temperature are chosen on exemplars held out by topic, and the metrics in `training` come from
    the same rows. Raises `RowError` for fewer than two labels or fewer than ten rows in one.
    """
    ordered = tuple(sorted(rows))
    _require_enough(ordered)
    vectors = _encode([row.text for row in ordered], encoder, progress)
    labels = np.array([row.label for row in ordered])
    # One BLAS thread: these products are small, and on a busy machine the pool's waiting made a fit ten times
    # slower.
    with threadpool_limits(limits=1):
        return _fit(ordered, vectors, encoder, split(vectors, labels, seed), seed, progress)


def _fit(
    rows: tuple[Row, ...], vectors: Vectors, encoder: Encoder, folds: Folds, seed: int, progress: Progress
) -> Classifier:
    labels = np.array([row.label for row in rows])
    names, targets = np.unique(labels, return_inverse=True)
    held_out = NEIGHBOUR_WEIGHT * _held_out_evidence(vectors, labels, folds)
    trials: list[Trial] = []
    for done, strength in enumerate(STRENGTHS, 1):
        logits = held_out + _held_out_logits(vectors, labels, folds, strength)
        temperature = fit_temperature(logits, targets)
        trials.append(Trial(log_loss(logits, targets, temperature), strength, temperature, logits))
        progress("cross-validating", done, len(STRENGTHS))
    best = min(trials, key=lambda trial: trial.loss)
    scores = softmax(best.logits / best.temperature)
    around, similarities = fit_neighbourhood(vectors, labels, folds)
    training = {
        "strength": best.strength,
        "log_loss": best.loss,
        "seed": seed,
        "cross_validation": figures(
            rows, [dict(zip(names.tolist(), row, strict=True)) for row in scores.tolist()]
        ),
    }
    head = Head(fit_regression(vectors, labels, best.strength), best.temperature, NEIGHBOUR_WEIGHT)
    return Classifier(encoder, head, around, rows, HeldOut(scores, similarities), training)


def _require_enough(rows: Sequence[Row]) -> None:
    counts = Counter(row.label for row in rows)
    if len(counts) < 2:
        raise RowError(f"{len(counts)} label(s) in the exemplars; a classifier needs at least two")
    for label, count in sorted(counts.items()):
        if count < FEWEST:
            raise RowError(
                f"label {label!r} has {count} exemplars; it needs at least {FEWEST}, better 100 or more"
            )


def _encode(texts: Sequence[str], encoder: Encoder, progress: Progress) -> Vectors:
    parts = []
    for start in range(0, len(texts), _CHUNK):
        parts.append(encoder.encode(texts[start : start + _CHUNK]))
        progress("encoding", min(start + _CHUNK, len(texts)), len(texts))
    return np.concatenate(parts)


def _held_out_logits(vectors: Vectors, labels: NDArray[np.str_], folds: Folds, strength: float) -> Matrix:
    logits = np.empty((len(labels), len(np.unique(labels))))
    for inside, outside in folds:
        regression = fit_regression(vectors[inside], labels[inside], strength, _TRIAL_TOLERANCE)
        logits[outside] = logits_of(regression, vectors[outside])
    return logits


def _held_out_evidence(vectors: Vectors, labels: NDArray[np.str_], folds: Folds) -> Matrix:
    densities = np.empty((len(labels), len(np.unique(labels))))
    for inside, outside in folds:
        starts = starts_of(labels[inside])
        cosines = vectors[outside] @ vectors[inside].T
        for index, row in zip(outside, cosines, strict=True):
            densities[index] = evidence(row, starts, BANDWIDTH)
    return densities
