"""What new exemplars would change, measured by training with and without them. Knows no file and no screen.

Cross-validation is compared on the same folds: redrawn ones move its accuracy by more than a single exemplar can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from classifiers.classifier import Classifier
from classifiers.encoders import Vectors
from classifiers.encoders.remembering import RememberingEncoder
from classifiers.evaluate import Figures, figures
from classifiers.folds import FOLDS, SPLITS, Split, folds_of
from classifiers.neighbourhood import Folds
from classifiers.prediction import Prediction
from classifiers.progress import Progress, silent
from classifiers.rows import Row, require_labels
from classifiers.train import train


@dataclass(frozen=True, slots=True)
class Moved:
    """One prompt of an evaluation set whose best label changed."""

    row: Row
    before: str
    after: str

    @property
    def kind(self) -> Literal["fixed", "broken", "moved"]:
        """`fixed`: right now; `broken`: no longer right; `moved`: wrong before and after."""
        if self.after == self.row.label:
            return "fixed"
        return "broken" if self.before == self.row.label else "moved"


@dataclass(frozen=True, slots=True)
class OnSet:
    """One evaluation set before and after. Cross-validation, whose prompts are the exemplars, lists no moves."""

    name: str
    before: Figures
    after: Figures
    moved: tuple[Moved, ...] = ()


@dataclass(frozen=True, slots=True)
class Effect:
    """`texts`: each new exemplar with its prediction before and after. The one after was trained on it."""

    texts: tuple[tuple[Row, Prediction, Prediction], ...]
    cross_validation: OnSet
    sets: tuple[OnSet, ...]


def measure(
    before: Classifier,
    rows: Sequence[Row],
    sets: Mapping[str, Sequence[Row]] | None = None,
    progress: Progress = silent,
) -> Effect:
    """Train on `before`'s exemplars and `rows` together, and compare on every set and on the rows themselves.

    No text is encoded twice. Raises `RowError` when the exemplars cannot be learned from (a new label needs ten)
    or a set has a label that nobody knows.
    """
    known = dict(zip((row.text for row in before.rows), before.neighbourhood.vectors, strict=True))
    encoder = RememberingEncoder(before.encoder, known)
    together = sorted([*before.rows, *rows])
    labels = sorted({row.label for row in together})
    for name, prompts in (sets or {}).items():
        require_labels(prompts, labels, name)
    seed = int(before.training.get("seed", 0))
    held_out = before.training["held_out"]
    after = train(together, encoder, seed, progress, held_out, _same_folds(before, together, seed, held_out))
    before = replace(before, encoder=encoder)
    return Effect(
        texts=tuple((row, before.predict(row.text), after.predict(row.text)) for row in rows),
        cross_validation=OnSet(
            "cross-validation", before.training["cross_validation"], after.training["cross_validation"]
        ),
        sets=tuple(_on_set(name, prompts, before, after, progress) for name, prompts in (sets or {}).items()),
    )


def _on_set(name: str, rows: Sequence[Row], before: Classifier, after: Classifier, progress: Progress) -> OnSet:
    old, new = [], []
    for done, row in enumerate(rows, 1):
        old.append(before.predict(row.text))
        new.append(after.predict(row.text))
        progress(name, done, len(rows))
    moved = tuple(
        Moved(row, one.label, other.label)
        for row, one, other in zip(rows, old, new, strict=True)
        if one.label != other.label
    )
    was, now = (figures(rows, [one.scores for one in predictions]) for predictions in (old, new))
    return OnSet(name, was, now, moved)


def _same_folds(before: Classifier, together: Sequence[Row], seed: int, held_out: str) -> Split:
    """Return a split that leaves every old row in its fold; a new one goes to the nearest row of its label."""
    labels = np.array([row.label for row in before.rows])
    fold_of = np.empty(len(labels), dtype=np.intp)
    vectors_before = before.neighbourhood.vectors
    for number, (_, outside) in enumerate(SPLITS[held_out](vectors_before, labels, seed)):
        fold_of[outside] = number
    known: dict[Row, int] = dict(zip(before.rows, fold_of.tolist(), strict=True))

    def nearest(index: int, vector: NDArray[np.float32], label: str) -> int:
        same = np.flatnonzero(labels == label)
        if not len(same):  # a new label: its rows go round, so that every fit has some
            return index % FOLDS
        return int(fold_of[same[np.vecdot(vectors_before[same], vector).argmax()]])

    def split(vectors: Vectors, ordered: NDArray[np.str_], seed: int) -> Folds:
        chosen = np.array(
            [
                known[row] if row in known else nearest(index, vectors[index], row.label)
                for index, row in enumerate(together)
            ]
        )
        return folds_of(chosen)

    return split
