"""What a gate and the out-of-domain test do on labelled prompts: coverage and accuracy by threshold.

`python -m bench.classifier --data FILE.jsonl [--clinc data_full.json]`. FILE holds {text, label, lang} rows; the
second is CLINC150 as published (Larson et al. 2019), whose out-of-scope questions belong to no label of ours. The
figures of docs/classifier.md beyond `agoge classifier evaluate` come from here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import classifiers
from classifiers import Prediction

GATES = (0.45, 0.55, 0.7, 0.8)


def top(prediction: Prediction) -> tuple[str, float]:
    """Return the best label and its score."""
    label = max(prediction.scores, key=lambda name: prediction.scores[name])
    return label, prediction.scores[label]


def share(kept: Sequence[bool]) -> str:
    """Return the share of true values as a percentage."""
    return f"{100 * sum(kept) / max(1, len(kept)):5.1f} %"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clinc", type=Path)
    parser.add_argument("--classifier", type=Path, default=Path(".agoge/classifier"))
    options = parser.parse_args()
    classifier = classifiers.ensure(options.classifier, Path("policies/exemplars"))
    rows = classifiers.read_rows(options.data)
    predictions = classifier.predict_many([row.text for row in rows])
    best = [top(prediction) for prediction in predictions]
    right = [label == row.label for row, (label, _) in zip(rows, best, strict=True)]
    print(f"{len(rows)} rows of {options.data.name}")
    for gate in GATES:
        passed = [score >= gate and not p.out_of_domain for (_, score), p in zip(best, predictions, strict=True)]
        correct = [r for r, ok in zip(right, passed, strict=True) if ok]
        print(f"  gate {gate:.2f}: {share(passed)} of prompts pass, {share(correct)} of those rightly")
    outside = [p.out_of_domain for p in predictions]
    judged = list(zip(right, outside, strict=True))
    print(f"  out of domain: {share(outside)}; best label right {share([r for r, out in judged if out])}")
    print(f"  in domain: best label right {share([r for r, out in judged if not out])}")
    if options.clinc:
        questions = [text for text, _ in json.loads(options.clinc.read_text("utf-8"))["oos_test"]]
        found = classifier.predict_many(questions)
        print(f"{len(questions)} out-of-scope questions of CLINC150")
        print(f"  out of domain: {share([p.out_of_domain for p in found])}")
        closed = [p.out_of_domain or top(p)[1] < 0.55 for p in found]
        print(f"  no label reaches 0.55, or out of domain: {share(closed)}")
        domain = [not p.out_of_domain and top(p)[0] != "general" and top(p)[1] >= 0.55 for p in found]
        print(f"  a label other than general at 0.55 or more: {share(domain)}")


if __name__ == "__main__":
    main()
