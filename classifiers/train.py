"""Labelled rows -> a calibrated classifier. Knows no file and no screen."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from classifiers.classifier import Classifier
from classifiers.encoders import Encoder, Vectors
from classifiers.encoders.shortened import shortened
from classifiers.errors import RowError
from classifiers.evaluate import figures
from classifiers.folds import FEWEST, split_by_topic
from classifiers.head import Head, link
from classifiers.held_out import HeldOut
from classifiers.neighbourhood import Folds, fit_neighbourhood
from classifiers.progress import Progress, silent
from classifiers.ridge import BANDWIDTH, fit, fit_link
from classifiers.rows import Row

Split = Callable[[Vectors, NDArray[np.str_], int], Folds]
"""(vectors, labels, seed) -> folds: who is held out together."""

_CHUNK = 64


def train(
    rows: Sequence[Row],
    encoder: Encoder,
    seed: int = 0,
    progress: Progress = silent,
    split: Split = split_by_topic,
) -> Classifier:
    """Fit a classifier; the order of `rows` does not matter. `split` sees them sorted.

    The link is fitted on exemplars held out by topic, and the metrics in `training` come from the same rows.
    Raises `RowError` for fewer than two labels or fewer than ten rows in one.
    """
    ordered = tuple(sorted(rows))
    _require_enough(ordered)
    vectors = _encode([row.text for row in ordered], encoder, progress)
    if shorter := shortened(encoder, vectors):
        encoder, vectors = shorter, shorter.shorten(vectors)
    labels = np.array([row.label for row in ordered])
    folds = split(vectors, labels, seed)
    names, targets = np.unique(labels, return_inverse=True)
    weights, guesses = fit(vectors, targets, folds, progress)
    sharpness, power, loss = fit_link(guesses, targets)
    scores = link(guesses, sharpness, power)
    around, similarities = fit_neighbourhood(vectors, folds)
    known: tuple[str, ...] = tuple(names.tolist())
    training = {
        "log_loss": loss,
        "seed": seed,
        "cross_validation": figures(ordered, [dict(zip(known, row, strict=True)) for row in scores.tolist()]),
    }
    head = Head(known, weights, BANDWIDTH, sharpness, power)
    return Classifier(encoder, head, around, ordered, HeldOut(scores, similarities), training)


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
    """All vectors, the texts shared out among the cores: an encoder runs on one thread each."""
    chunks = [texts[start : start + _CHUNK] for start in range(0, len(texts), _CHUNK)]
    parts = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for part in pool.map(encoder.encode, chunks):
            parts.append(part)
            progress("encoding", sum(map(len, parts)), len(texts))
    return np.concatenate(parts)
