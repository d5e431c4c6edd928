from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from classifiers.folds import split_by_row, split_by_topic
from classifiers.neighbourhood import Neighbourhood, directions, held_out_similarities, rounded


def _topics() -> tuple[NDArray[np.float32], NDArray[np.str_], NDArray[np.intp]]:
    """Two labels with ten far-apart topics of four rows each."""
    random = np.random.default_rng(3)
    centres = np.eye(20)
    vectors = np.repeat(centres, 4, axis=0) + random.normal(scale=0.01, size=(80, 20))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.repeat(["a", "b"], 40), np.repeat(np.arange(20), 4)


def test_topics_are_held_out_whole_and_every_row_once() -> None:
    vectors, labels, topics = _topics()
    folds = split_by_topic(vectors, labels, seed=0)
    assert sorted(np.concatenate([outside for _, outside in folds]).tolist()) == list(range(80))
    split = 0
    for inside, outside in folds:
        assert not set(inside.tolist()) & set(outside.tolist())
        assert set(labels[inside]) == {"a", "b"}
        split += len(set(topics[inside].tolist()) & set(topics[outside].tolist()))
    # k-means from one start may cut a topic in two; a split by rows would cut nearly all 20
    assert split <= 4


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")  # that is what is tested
def test_coinciding_vectors_still_give_folds_with_every_label() -> None:
    vectors = np.repeat(np.eye(2, dtype=np.float32), 12, axis=0)
    labels = np.repeat(["a", "b"], 12)
    for inside, outside in split_by_topic(vectors, labels, seed=0):
        assert set(labels[inside]) == {"a", "b"}
        assert len(outside) > 0


def test_rows_are_held_out_once_each_and_evenly_by_label() -> None:
    vectors = np.eye(40, dtype=np.float32)
    labels = np.repeat(["a", "b"], [10, 30])
    folds = split_by_row(vectors, labels, seed=0)
    assert sorted(np.concatenate([outside for _, outside in folds])) == list(range(40))
    for inside, outside in folds:
        assert sorted([*inside, *outside]) == list(range(40))
        assert [list(labels[outside]).count(label) for label in ("a", "b")] == [2, 6]
    assert any(
        list(one) != list(other)
        for (_, one), (_, other) in zip(folds, split_by_row(vectors, labels, seed=1), strict=True)
    )


def test_held_out_similarities_are_those_to_the_other_folds() -> None:
    random = np.random.default_rng(5)
    vectors = random.normal(size=(200, 12)).astype(np.float32)
    codes = rounded(vectors)
    vectors = directions(codes)
    folds = split_by_topic(vectors, np.repeat(["a", "b"], 100), seed=0)
    found = held_out_similarities(Neighbourhood(codes, 3), folds)
    for inside, outside in folds:
        for index in outside:
            nearest = sorted(float(vectors[index] @ vectors[other]) for other in inside)[-3:]
            assert abs(found[index] - sum(nearest) / 3) < 1e-5
