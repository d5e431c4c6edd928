"""A classifier and labelled prompts -> gates with a guarantee. Knows no policy and no screen.

With a file of prompts that the classifier never saw, the guarantee is for prompts drawn as those were, and the
exemplars' held-out scores lay the ladder of gates. Without one, half of those lay it and the other half tests it:
the guarantee is then for prompts like the exemplars, scored by fits without their topic. The test is in
`fixed_sequence`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from classifiers.calibration import Calibration, Counts, Step, Tally
from classifiers.classifier import Classifier
from classifiers.errors import RowError
from classifiers.fixed_sequence import count, last_passed, start_of
from classifiers.gates import Judged, Ladder, first_steps, fit_ladder
from classifiers.judging import held_out, predicted
from classifiers.progress import Progress, silent
from classifiers.risk import fewest, upper_bound
from classifiers.rows import digest, read_rows, require_labels, unseen

ERROR, CONFIDENCE = 0.05, 0.95
CATCH_ALL = "general"  # the label of the shipped exemplars for what should open no domain


def calibrate(
    classifier: Classifier,
    error: float = ERROR,
    confidence: float = CONFIDENCE,
    data: Path | None = None,
    ignored: Collection[str] | None = None,
    progress: Progress = silent,
) -> Calibration:
    """Choose gates; `ignored` None ignores `general` where the classifier has it.

    `error` and `confidence` lie in (0, 1). The result says when no gates passed. Raises `RowError` for a label
    that the classifier does not have, and for a file of nothing but exemplars.
    """
    named = {CATCH_ALL} & set(classifier.labels) if ignored is None else set(ignored)
    if unknown := named - set(classifier.labels):
        raise RowError(f"no label {', '.join(sorted(unknown))} to ignore; known: {', '.join(classifier.labels)}")
    own = held_out(classifier, named)
    if data is None:
        order = np.random.default_rng(0).permutation(len(own))
        laid, tested = own.take(order[::2]), own.take(order[1::2])
        given, seen = list(classifier.rows), 0
    else:
        given = read_rows(data)
        rows = unseen(given, classifier.rows)
        seen = len(given) - len(rows)
        if not rows:
            raise RowError(
                f"{data}: holds exemplars only; calibration needs prompts that the classifier never saw"
            )
        require_labels(rows, classifier.labels, str(data))
        laid, tested = own, predicted(classifier, rows, named, progress)
    ladder = fit_ladder(laid, len(classifier.labels))
    start = start_of(laid, ladder, Counter(tested.langs.tolist()), error, confidence)
    last = last_passed(count(tested, ladder), start, error, confidence)
    return Calibration(
        error=error,
        confidence=confidence,
        ignored=tuple(sorted(named)),
        data=None if data is None else str(data.resolve()),
        rows_sha256=digest(given),
        seen=seen,
        fewest=fewest(error, confidence),
        start=start,
        labels={} if last is None else _tallies(tested, ladder, last, classifier, named),
        table=_table(tested, ladder, range(start, start if last is None else last + 1), confidence),
    )


def recalibrate(classifier: Classifier, before: Calibration | None, progress: Progress = silent) -> Classifier:
    """Calibrate a newly trained classifier as an older one was: the same bound, the same prompts.

    A file that is gone or holds other rows is not what was asked for: then the exemplars take its place, and
    `data` of the result is None. Without an older calibration nothing is added.
    """
    if before is None:
        return classifier
    ignored = [label for label in before.ignored if label in classifier.labels]
    data = Path(before.data) if before.data is not None else None
    found = calibrate(
        classifier,
        before.error,
        before.confidence,
        data if data is not None and _unchanged(classifier, data, before.rows_sha256) else None,
        ignored,
        progress,
    )
    return replace(classifier, calibration=found)


def remark(before: Calibration, after: Calibration) -> str:
    """What became of a calibration when the classifier was trained anew, in one line."""
    source = f"on {after.data}" if after.data else "on the exemplars"
    if before.data and not after.data:
        source += f", because {before.data} is no longer what it was"
    return f"gates calibrated anew {source}" + (f": {after.obstacle}" if after.obstacle else "")


def _unchanged(classifier: Classifier, data: Path, expected: str) -> bool:
    """Whether the file holds the rows that it held, and the classifier still knows their labels."""
    try:
        rows = read_rows(data)
        require_labels(rows, classifier.labels, str(data))
    except RowError:
        return False
    return digest(rows) == expected and bool(unseen(rows, classifier.rows))


def _table(rows: Judged, ladder: Ladder, passed: range, confidence: float) -> tuple[Step, ...]:
    sizes = Counter(rows.langs.tolist())
    columns = {
        lang: [
            Counts(sizes[lang], *one)
            for one in zip(
                routed.tolist(), wrong.tolist(), upper_bound(wrong, routed, confidence).tolist(), strict=True
            )
        ]
        for lang, (routed, wrong) in count(rows, ladder).items()
    }
    return tuple(
        Step(level, number in passed, {lang: column[number] for lang, column in columns.items()})
        for number, level in enumerate(ladder.levels.tolist())
    )


def _tallies(
    rows: Judged, ladder: Ladder, step: int, classifier: Classifier, ignored: set[str]
) -> dict[str, Tally]:
    routed = first_steps(rows, ladder) <= step
    return {
        label: Tally(
            gate=float(ladder.gates[step, column]),
            routed=int((routed & (rows.best == column)).sum()),
            wrong=int((routed & (rows.best == column) & ~rows.right).sum()),
        )
        for column, label in enumerate(classifier.labels)
        if label not in ignored
    }
