"""Measures predictions against labelled rows, overall and by language. Knows no training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np

from classifiers.classifier import Classifier
from classifiers.errors import RowError
from classifiers.metrics import LabelFigures, accuracy, expected_calibration_error, label_figures, macro_f1
from classifiers.progress import Progress, silent
from classifiers.rows import Row, require_labels

ALL = "all"
ByLanguage = dict[str, float]


class Figures(TypedDict):
    """Every figure by language, plus `all`; `labels` over all languages. Ratios in [0, 1], `rows` are counts."""

    accuracy: ByLanguage
    macro_f1: ByLanguage
    ece: ByLanguage
    rows: dict[str, int]
    labels: dict[str, LabelFigures]


class Report(Figures):
    """`out_of_domain` is the share of rows so judged; the other figures count them all the same, by best score."""

    out_of_domain: ByLanguage


def figures(rows: Sequence[Row], scores: Sequence[Mapping[str, float]]) -> Figures:
    """Compare label -> probability with the rows they were made for, in the same order."""
    result = Figures(accuracy={}, macro_f1={}, ece={}, rows={}, labels={})
    guesses = [max(one, key=one.__getitem__) for one in scores]
    for name, members in by_language(rows).items():
        truth, guessed = [rows[i].label for i in members], [guesses[i] for i in members]
        confidences = np.array([scores[i][guesses[i]] for i in members])
        result["accuracy"][name] = accuracy(truth, guessed)
        result["macro_f1"][name] = macro_f1(truth, guessed)
        result["ece"][name] = expected_calibration_error(confidences, np.array(truth) == np.array(guessed))
        result["rows"][name] = len(members)
    result["labels"] = label_figures([row.label for row in rows], guesses)
    return result


def evaluate(classifier: Classifier, rows: Sequence[Row], progress: Progress = silent) -> Report:
    """Predict every row and report; raises `RowError` for no rows or an unknown label."""
    if not rows:
        raise RowError("no rows to evaluate on; give at least one")
    require_labels(rows, classifier.labels, "evaluation data")
    predictions = []
    for index, row in enumerate(rows, 1):
        predictions.append(classifier.predict(row.text))
        progress("evaluating", index, len(rows))
    outside = {
        name: sum(predictions[i].out_of_domain for i in members) / len(members)
        for name, members in by_language(rows).items()
    }
    return Report(**figures(rows, [one.scores for one in predictions]), out_of_domain=outside)


def by_language(rows: Sequence[Row]) -> dict[str, list[int]]:
    """Indices of all rows, then of each language's."""
    groups = {ALL: list(range(len(rows)))}
    for lang in sorted({row.lang for row in rows}):
        groups[lang] = [index for index, row in enumerate(rows) if row.lang == lang]
    return groups
