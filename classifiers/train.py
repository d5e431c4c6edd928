"""Labelled rows -> a calibrated classifier. Knows no file and no screen."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from classifiers.classifier import Classifier
from classifiers.encoders import Encoder, Vectors
from classifiers.encoders.shortened import shortened
from classifiers.errors import RowError
from classifiers.evaluate import figures
from classifiers.folds import FEWEST, SPLITS, TOPICS, Split
from classifiers.head import Head, link
from classifiers.held_out import HeldOut
from classifiers.neighbourhood import NEAREST, Neighbourhood, directions, held_out_similarities, rounded
from classifiers.progress import Progress, silent
from classifiers.ridge import BANDWIDTH, fit, fit_link
from classifiers.rows import Row
from classifiers.strangeness import fit_limit, strangeness

_CHUNK = 64


def train(
    rows: Sequence[Row],
    encoder: Encoder,
    seed: int = 0,
    progress: Progress = silent,
    held_out: str = TOPICS,
    split: Split | None = None,
) -> Classifier:
    """Fit a classifier; the order of `rows` does not matter.

    Confidence, limit of strangeness and the metrics in `training` come from exemplars that a fit had not seen:
    whole topics, or single rows for exemplars that are a sample of the very prompts to come (`held_out` is a name
    in `folds.SPLITS`). `split` draws these folds in a way of its own and sees the rows sorted.
    Raises `RowError` for fewer than two labels or fewer than ten rows in one.
    """
    ordered = tuple(sorted(rows))
    _require_enough(ordered)
    vectors = _encode([row.text for row in ordered], encoder, progress)
    if shorter := shortened(encoder, vectors):
        encoder, vectors = shorter, shorter.shorten(vectors)
    codes = rounded(vectors)
    vectors = directions(codes)
    labels = np.array([row.label for row in ordered])
    folds = (split or SPLITS[held_out])(vectors, labels, seed)
    names, targets = np.unique(labels, return_inverse=True)
    weights, guesses = fit(vectors, targets, folds, progress)
    sharpness, power, loss = fit_link(guesses, targets)
    scores = link(guesses, sharpness, power)
    around = Neighbourhood(codes, min(NEAREST, *(len(inside) for inside, _ in folds)))
    strange = strangeness(scores, held_out_similarities(around, folds))
    known: tuple[str, ...] = tuple(names.tolist())
    training = {
        "log_loss": loss,
        "seed": seed,
        "held_out": held_out,
        "cross_validation": figures(ordered, [dict(zip(known, row, strict=True)) for row in scores.tolist()]),
    }
    head = Head(known, weights, BANDWIDTH, sharpness, power)
    return Classifier(encoder, head, around, fit_limit(strange), ordered, HeldOut(scores, strange), training)


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
