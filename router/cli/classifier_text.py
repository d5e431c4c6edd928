"""A calibration in words: what it promises, its table, its gates ready to paste. Knows no policy."""

from __future__ import annotations

import click

from classifiers import Calibration
from classifiers.calibration import Counts, Step
from router.cli.classifier_terminal import print_table

_EVERY = 4  # the table has some sixty steps; the artefact and --json have them all


def print_calibration(found: Calibration) -> None:
    """Print all of it, or why there are no gates."""
    for line in promise(found):
        click.echo(line)
    langs = sorted(found.table[0].languages)
    columns = ["right at gate", *(f"{lang} {name}" for lang in langs for name in ("routed", "risk", "at most"))]
    print_table([*columns, ""], [_line(found, step, langs) for step in _shown(found)])
    if found.obstacle is None:
        click.echo("\nThe gates, to be taken as a set:")
        print_table(
            ["label", "gate", "routed", "wrong"],
            [
                [label, f"at_least: {tally.gate:g}", str(tally.routed), str(tally.wrong)]
                for label, tally in found.labels.items()
            ],
        )


def promise(found: Calibration) -> list[str]:
    """What is guaranteed, by which prompts, and what is passed over."""
    langs = " and ".join(sorted(found.table[0].languages))
    if found.obstacle is not None:
        lines = [found.obstacle]
    else:
        lines = [
            f"P(wrong domain | routed) <= {found.error:g} in {langs}, each, with confidence {found.confidence:g}"
        ]
    if found.data is not None:
        lines.append(f"by {found.data}, for prompts drawn as these were; sha256 {found.rows_sha256[:16]}")
        if found.seen:
            lines.append(f"left out: {found.seen} rows that are exemplars")
    else:
        lines.append("by the exemplars, for prompts like them only, scored by fits without their topic;")
        lines.append("prompts of your own say more: --data FILE.jsonl")
    if found.ignored:
        lines.append(f"open no domain: {', '.join(found.ignored)}")
    return lines


def _shown(found: Calibration) -> list[Step]:
    always = {found.start} | {n for n, step in enumerate(found.table) if step is found.chosen}
    return [step for n, step in enumerate(found.table) if n % _EVERY == 0 or n in always]


def _line(found: Calibration, step: Step, langs: list[str]) -> list[str]:
    mark = "<- chosen" if step is found.chosen else "passed" if step.passed else ""
    cells = [cell for lang in langs for cell in _cells(step.languages[lang])]
    return [f"{step.level:.3f}", *cells, mark]


def _cells(one: Counts) -> tuple[str, str, str]:
    return f"{100 * one.coverage:.1f} %", f"{one.risk:.3f}" if one.routed else "-", f"{one.upper:.3f}"
