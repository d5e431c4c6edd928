"""Splits exemplars into folds, by topic or by row. Knows no head and no encoder.

Prompts never come from the sources that the exemplars came from, so a random split flatters: its held-out
rows have siblings in the fit. Here each label's vectors are clustered and whole clusters are left out, which
is harder than real life by about as much as a random split is easier. Rows are for exemplars that were drawn from
the very prompts to come, such as a log labelled by hand: there a random split is real life.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from classifiers.encoders import Vectors
from classifiers.neighbourhood import Folds

Split = Callable[[Vectors, NDArray[np.str_], int], Folds]
"""(vectors, labels, seed) -> folds: who is held out together."""

FOLDS = 5
TOPIC = 20  # rows that a cluster has on average in a label of 200 rows or more
FEWEST_TOPICS = 10  # clusters in a smaller label, half its rows where it has under 20
FEWEST = 10  # rows a label needs: two per fold


def split_by_topic(vectors: Vectors, labels: NDArray[np.str_], seed: int) -> Folds:
    """`FOLDS` pairs (indices to fit on, indices held out). Each row is held out once; each fit has every label."""
    fold = np.empty(len(labels), dtype=np.intp)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        for chosen, topic in zip(*_spread(_topics(vectors[members], seed)), strict=True):
            fold[members[topic]] = chosen
    return folds_of(fold)


def split_by_row(vectors: Vectors, labels: NDArray[np.str_], seed: int) -> Folds:
    """The same, each row by itself."""
    random = np.random.default_rng(seed)
    fold = np.empty(len(labels), dtype=np.intp)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        fold[members] = random.permutation(len(members)) % FOLDS
    return folds_of(fold)


TOPICS, ROWS = "topics", "rows"
SPLITS: dict[str, Split] = {TOPICS: split_by_topic, ROWS: split_by_row}


def folds_of(fold: NDArray[np.intp]) -> Folds:
    """`FOLDS` pairs from the number of the fold that each row is held out in."""
    every = np.arange(len(fold))
    return [(every[fold != one], every[fold == one]) for one in range(FOLDS)]


def _topics(vectors: Vectors, seed: int) -> list[NDArray[np.intp]]:
    """Row indices per topic of one label."""
    from sklearn.cluster import KMeans  # not at the top: no server needs it, and it is 70 MB

    topics = min(max(FEWEST_TOPICS, len(vectors) // TOPIC), len(vectors) // 2)
    assigned = KMeans(topics, n_init=1, random_state=seed).fit_predict(vectors)
    groups = [np.flatnonzero(assigned == topic) for topic in np.unique(assigned)]
    if len(groups) < FOLDS:  # vectors that coincide make fewer clusters than asked for: then rows, not topics
        groups = [np.arange(start, len(vectors), FOLDS) for start in range(FOLDS)]
    return groups


def _spread(groups: list[NDArray[np.intp]]) -> tuple[list[int], list[NDArray[np.intp]]]:
    """Give each group a fold, the largest group first and always to the fold with the fewest rows."""
    ordered = sorted(groups, key=len, reverse=True)
    sizes = [0] * FOLDS
    chosen = []
    for group in ordered:
        smallest = sizes.index(min(sizes))
        sizes[smallest] += len(group)
        chosen.append(smallest)
    return chosen, ordered
