"""`agoge outcomes`: what people thought of decisions, counted and as exemplars. outcomes_rows.py chooses."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from router.cli.options import fail, no_password
from router.cli.policy import CODES
from router.cli.tables import counted, print_table
from router.core.errors import AgogeError
from router.core.outcome import Outcome
from router.outcomes import FILE, open_outcomes
from router.ports import OutcomesUnavailable
from router.wiring.secret import with_redis_password

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT = str(Path(".agoge") / FILE)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object for programs.")


class Unusable(AgogeError):
    """What --from or --out names cannot be used; the message says why and what can."""


@click.group(epilog=CODES)
def command() -> None:
    """What people thought of decisions: count it, and turn it into exemplars."""


def _source(function: Command) -> Command:
    return click.option(
        "--from",
        "source",
        default=DEFAULT,
        show_default=True,
        callback=no_password,
        help="A file, or redis://HOST:PORT/DB: what `agoge serve --outcomes` names.",
    )(function)


@command.command(epilog=CODES)
@_source
@click.option(
    "--out", default="-", show_default=True, help="A new file for the lines, one JSON object each; - prints them."
)
@click.option(
    "--verdict",
    type=click.Choice(["wrong", "right", "all"]),
    default="all",
    show_default=True,
    help="Learn from mistakes, from what was right, or from both.",
)
@click.option(
    "--exemplars",
    type=click.Path(file_okay=False, path_type=Path),
    show_default="policies/exemplars",
    help="What the classifier is taught already; it is left out.",
)
@_json
def export(source: str, out: str, verdict: Any, exemplars: Path | None, as_json: bool) -> None:
    """Write the outcomes that have a text and a label as exemplars: {"text", "label", "lang"}.

    A wrong one with a label has that label, a right one the label that was decided. Where people disagree about a
    text it is listed and left out. What was left out is counted by reason, on standard error.
    """
    from classifiers import ClassifierError, read_exemplars
    from classifiers.rows import line_of
    from router.cli.outcomes_rows import REASONS, choose
    from router.wiring.settings import shipped

    try:
        known = read_exemplars(exemplars or shipped("policies", "exemplars"))
        outcomes, damaged = _read(source)
        chosen = choose(outcomes, known, verdict)
        lines = "".join(line_of(row) for row in chosen.rows)
        if out != "-":
            _write_new(Path(out), lines)
        elif not as_json:
            click.echo(lines, nl=False)
    except (AgogeError, ClassifierError, OutcomesUnavailable, OSError) as error:
        fail(error)
    if as_json:
        told = {
            "outcomes": len(outcomes),
            "damaged": damaged,
            "exemplars": [{"text": row.text, "label": row.label, "lang": row.lang} for row in chosen.rows],
            "left_out": dict(chosen.left_out),
            "contradictions": [
                {"text": each.text, "right": dict(each.right), "wrong": dict(each.wrong)}
                for each in chosen.contradictions
            ],
        }
        _print_json(told)
        return
    for each in chosen.contradictions:
        sides = [
            f"{label} is {word} ({count})"
            for word in ("right", "wrong")
            for label, count in getattr(each, word).items()
        ]
        click.echo(f"disputed: {each.text!r:.80}: {', '.join(sides)}", err=True)
    where = "" if out == "-" else f" in {out}"
    click.echo(
        f"{counted(len(chosen.rows), 'exemplar')}{where} from {counted(len(outcomes), 'outcome')}", err=True
    )
    for reason, count in chosen.left_out.most_common():
        click.echo(f"  {count:>6}  {REASONS[reason]}", err=True)


@command.command(epilog=CODES)
@_source
@_json
def show(source: str, as_json: bool) -> None:
    """Count outcomes by the label that was decided and by verdict; and how often each label was missed."""
    try:
        outcomes, damaged = _read(source)
    except (AgogeError, OutcomesUnavailable, OSError) as error:
        fail(error)
    verdicts = Counter((each.decided, each.verdict) for each in outcomes)
    missed: Counter[str | None] = Counter(
        each.label for each in outcomes if each.verdict == "wrong" and each.label
    )
    labels = sorted({*(label for label, _ in verdicts), *missed}, key=lambda label: (label is None, label))
    if as_json:
        rows = [
            {
                "label": label,
                "right": verdicts[label, "right"],
                "wrong": verdicts[label, "wrong"],
                "missed": missed[label],
            }
            for label in labels
        ]
        _print_json({"outcomes": len(outcomes), "damaged": damaged, "labels": rows})
        return
    table = [
        [label or "none", *(str(verdicts[label, verdict]) for verdict in ("right", "wrong")), str(missed[label])]
        for label in labels
    ]
    print_table(("decided", "right", "wrong", "should have been"), table)


def _read(source: str) -> tuple[list[Outcome], int]:
    """Return all outcomes and how many entries were damaged; those are told on standard error."""
    told: list[str] = []

    def tell(what: str) -> None:
        told.append(what)
        click.echo(what, err=True)

    try:
        store = open_outcomes(with_redis_password(source, os.environ), tell=tell)
    except ValueError as error:
        raise click.UsageError(f"--from: {error}") from None
    if store is None:
        raise click.UsageError("--from: none: keeps nothing; give a file or redis://HOST:PORT/DB")
    if "://" not in source and not Path(source).exists():
        raise Unusable(f"there is no {source}; outcomes are where `agoge serve --outcomes` keeps them")

    async def all_of_them() -> list[Outcome]:
        try:
            return [each async for each in store.read()]
        finally:
            await store.aclose()

    return asyncio.run(all_of_them()), len(told)


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except FileExistsError:
        raise Unusable(f"{path} is there already; give --out another name") from None


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, ensure_ascii=False, indent=2))
