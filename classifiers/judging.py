"""A classifier's rows and their scores -> what gates are tested on. Knows no gate and no statistics."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from classifiers.classifier import Classifier
from classifiers.gates import Judged, judge
from classifiers.progress import Progress, silent
from classifiers.rows import Row


def held_out(classifier: Classifier, ignored: Collection[str]) -> Judged:
    """The exemplars, each judged by a fit that had not seen its topic."""
    inside = classifier.held_out.strangeness <= classifier.limit
    return judge(
        classifier.held_out.scores,
        inside,
        [row.label for row in classifier.rows],
        [row.lang for row in classifier.rows],
        classifier.labels,
        ignored,
    )


def predicted(
    classifier: Classifier, rows: Sequence[Row], ignored: Collection[str], progress: Progress = silent
) -> Judged:
    """Other rows, as the classifier judges them."""
    predictions = []
    for done, row in enumerate(rows, 1):
        predictions.append(classifier.predict(row.text))
        progress("scoring", done, len(rows))
    scores = np.array([[one.scores[label] for label in classifier.labels] for one in predictions])
    inside = np.array([not one.out_of_domain for one in predictions])
    return judge(
        scores, inside, [row.label for row in rows], [row.lang for row in rows], classifier.labels, ignored
    )
