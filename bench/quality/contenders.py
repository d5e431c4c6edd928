"""Who is compared, of those that run in this Python: ours, and three plain methods on the same vectors.

All are asked one text after the other, as a service would ask.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

import classifiers
from bench.quality.answers import Answers
from classifiers import Classifier, Encoder, Progress, Row
from classifiers.encoders import Vectors
from classifiers.folds import ROWS, TOPICS
from classifiers.strangeness import strangeness

NEIGHBOURS = 10
WARMTH = 0.05  # temperature of the centroids' softmax
One = tuple[str, float, float]
"""Label, confidence, and how far outside."""


class Contender(Protocol):
    """Fitted on rows, then answers texts."""

    def fit(self, rows: Sequence[Row]) -> None:
        """Learn; may be called once more, and then forgets."""

    def answer(self, texts: Sequence[str]) -> Answers:
        """Answer each text."""


def ask(texts: Sequence[str], one: Callable[[str], One]) -> Answers:
    """Ask for each text, and take the time of each."""
    found, seconds = [], []
    for text in texts:
        start = time.perf_counter()
        found.append(one(text))
        seconds.append(time.perf_counter() - start)
    return Answers(
        tuple(label for label, _, _ in found),
        np.array([confidence for _, confidence, _ in found]),
        np.array([outside for _, _, outside in found]),
        1e6 * float(np.median(seconds)),
    )


def strange(scores: NDArray[np.float64], similarity: float = 1.0) -> float:
    """Our measure of how far outside a text seems; who has no vectors has no similarity."""
    return float(strangeness(scores, similarity))


class Ours:
    """`classifiers.train` and `predict`. `held_out`: what confidence is fitted on, topics or rows."""

    def __init__(self, encoder: Encoder, progress: Progress, held_out: str = TOPICS) -> None:
        self.encoder, self.progress, self.held_out = encoder, progress, held_out
        self.classifier: Classifier | None = None

    def fit(self, rows: Sequence[Row]) -> None:
        """Train."""
        self.classifier = classifiers.train(rows, self.encoder, progress=self.progress, held_out=self.held_out)

    def answer(self, texts: Sequence[str]) -> Answers:
        """Predict."""
        assert self.classifier is not None
        predict = self.classifier.predict

        def one(text: str) -> One:
            found = predict(text)
            return found.label, found.confidence, found.strangeness

        self.encoder.encode(texts)  # the vectors are looked up, not made, while time is taken
        return ask(texts, one)


class Neighbours:
    """Cosine kNN: the 10 nearest rows vote with their similarity; a label's share of the votes is its score."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def fit(self, rows: Sequence[Row]) -> None:
        """Keep the vectors."""
        self.vectors = self.encoder.encode([row.text for row in rows])
        names, self.targets = np.unique([row.label for row in rows], return_inverse=True)
        self.names: list[str] = names.tolist()

    def answer(self, texts: Sequence[str]) -> Answers:
        """Vote."""

        def one(text: str) -> One:
            cosines = np.vecdot(self.vectors, self.encoder.encode([text])[0])
            nearest = np.argpartition(cosines, -NEIGHBOURS)[-NEIGHBOURS:]
            weights = np.maximum(cosines[nearest], 1e-6)
            votes = np.bincount(self.targets[nearest], weights=weights, minlength=len(self.names))
            scores = votes / votes.sum()
            best = int(scores.argmax())
            return self.names[best], float(scores[best]), strange(scores, float(cosines[nearest].mean()))

        self.encoder.encode(texts)
        return ask(texts, one)


class Centroids:
    """Nearest centroid: softmax of the cosines to each label's mean vector, at a temperature of 0.05."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def fit(self, rows: Sequence[Row]) -> None:
        """Average by label."""
        vectors = self.encoder.encode([row.text for row in rows])
        labels = np.array([row.label for row in rows])
        self.names: list[str] = np.unique(labels).tolist()
        means = np.stack([vectors[labels == name].mean(axis=0) for name in self.names])
        self.centres: Vectors = means / np.linalg.norm(means, axis=1, keepdims=True)

    def answer(self, texts: Sequence[str]) -> Answers:
        """Compare."""

        def one(text: str) -> One:
            cosines = np.vecdot(self.centres, self.encoder.encode([text])[0]).astype(np.float64)
            powers = np.exp((cosines - cosines.max()) / WARMTH)
            scores = powers / powers.sum()
            best = int(scores.argmax())
            return self.names[best], float(scores[best]), strange(scores, float(cosines[best]))

        self.encoder.encode(texts)
        return ask(texts, one)


class Letters:
    """TF-IDF of 2 to 5 letters within words, and a logistic regression; no encoder at all."""

    def __init__(self) -> None:
        self.pipe: Pipeline | None = None

    def fit(self, rows: Sequence[Row]) -> None:
        """Count and fit."""
        counts = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
        self.pipe = make_pipeline(counts, LogisticRegression(C=10.0, max_iter=200))
        self.pipe.fit([row.text for row in rows], [row.label for row in rows])

    def answer(self, texts: Sequence[str]) -> Answers:
        """Predict."""
        assert self.pipe is not None
        names = [str(name) for name in self.pipe.classes_]
        pipe = self.pipe

        def one(text: str) -> One:
            scores: NDArray[np.float64] = pipe.predict_proba([text])[0]
            best = int(scores.argmax())
            return names[best], float(scores[best]), strange(scores)

        return ask(texts, one)


OURS, BOTH = "Agoge", "use+e5"


def plain(encoder: Encoder, both: Encoder, progress: Progress) -> dict[str, Contender]:
    """All of them by name, ours first.

    What they learn is a sample of what they are asked, so ours holds out rows; semantic-router's calibration does.
    """
    return {
        OURS: Ours(encoder, progress, ROWS),
        f"{OURS}, {BOTH}": Ours(both, progress, ROWS),
        "kNN": Neighbours(encoder),
        f"kNN, {BOTH}": Neighbours(both),
        "centroid": Centroids(encoder),
        "TF-IDF": Letters(),
    }
