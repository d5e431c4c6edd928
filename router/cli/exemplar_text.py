"""The effect of new exemplars, for a person and as JSON. Knows what was measured, not how; prints nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from classifiers import Prediction
from classifiers.effect import Effect, Moved, OnSet
from router.cli.decide_text import short

COLUMNS = ("set", "language", "rows", "accuracy", "macro_f1", "ece")
_MEASURED = ("accuracy", "macro_f1", "ece")
SHOWN = 10  # prompts per set; --json has all


def text_lines(effect: Effect, file: Path) -> Iterator[str]:
    """Yield three lines per new exemplar: what it is, what it was taken for, what it is taken for now."""
    for row, before, after in effect.texts:
        yield f"text      {short(row.text)}"
        yield f"          {row.label}, {row.lang}, for {file}"
        yield f"before    {_guess(before, row.label)}"
        yield f"after     {_guess(after, row.label)}; it was trained on it, so look at the rest"


def table_lines(effect: Effect) -> list[list[str]]:
    """Return a line per set and language, before and after in one cell."""
    return [
        [
            Path(each.name).name if lang == "all" else "",
            lang,
            str(rows),
            *(_change(each, figure, lang) for figure in _MEASURED),
        ]
        for each in (effect.cross_validation, *effect.sets)
        for lang, rows in each.after["rows"].items()
    ]


def moved_lines(effect: Effect) -> Iterator[str]:
    """Yield how many prompts of each evaluation set changed their label, and the first of them."""
    for each in effect.sets:
        kinds = Counter(moved.kind for moved in each.moved)
        yield ""
        counts = f"{kinds['fixed']} fixed, {kinds['broken']} broken, {kinds['moved']} wrong before and after"
        yield f"{Path(each.name).name}: {counts}, of {each.after['rows']['all']}"
        ordered = sorted(each.moved, key=lambda moved: ("broken", "fixed", "moved").index(moved.kind))
        for moved in ordered[:SHOWN]:
            yield f"  {moved.kind:<6}  {moved.before} → {moved.after}{_truth(moved)}  {short(moved.row.text)}"
        if len(ordered) > SHOWN:
            yield f"  and {len(ordered) - SHOWN} more; --json has all"
    if not effect.sets:
        yield ""
        yield "no evaluation set was given; --eval FILE.jsonl measures on prompts of your own"


def as_json(effect: Effect, file: Path, saved: bool) -> dict[str, Any]:
    """Return everything that was measured as plain JSON values."""
    return {
        "file": str(file),
        "saved": saved,
        "texts": [
            {
                "text": row.text,
                "label": row.label,
                "lang": row.lang,
                "before": _prediction(before, row.label),
                "after": _prediction(after, row.label),
            }
            for row, before, after in effect.texts
        ],
        "cross_validation": _both(effect.cross_validation),
        "sets": [
            {"name": each.name, **_both(each), "moved": [_move(moved) for moved in each.moved]}
            for each in effect.sets
        ],
    }


def _guess(prediction: Prediction, wanted: str) -> str:
    said = f"{prediction.label} {prediction.confidence:.2f}"
    if prediction.label != wanted:
        score = prediction.scores.get(wanted)
        said += f", no {wanted} yet" if score is None else f", {wanted} {score:.2f}"
    return said + (", out of domain" if prediction.out_of_domain else "")


def _truth(moved: Moved) -> str:
    return f" (should be {moved.row.label})" if moved.kind == "moved" else ""


def _change(each: OnSet, figure: str, lang: str) -> str:
    before, after = (side[figure].get(lang) for side in _both(each).values())
    return f"{'-' if before is None else f'{before:.4f}'} → {after:.4f}"


def _both(each: OnSet) -> dict[str, dict[str, Any]]:
    return {"before": dict(each.before), "after": dict(each.after)}


def _move(moved: Moved) -> dict[str, str]:
    row = moved.row
    return {"text": row.text, "label": row.label, "before": moved.before, "after": moved.after, "kind": moved.kind}


def _prediction(prediction: Prediction, wanted: str) -> dict[str, Any]:
    return {
        "label": prediction.label,
        "score": prediction.confidence,
        "wanted": prediction.scores.get(wanted),
        "out_of_domain": prediction.out_of_domain,
    }
