"""`agoge exemplar add`: teach the classifier a prompt, and see what that changes before it is saved.

Knows the terminal and `classifiers`; knows no policy and no engine. What is printed comes from exemplar_text.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

import classifiers
from classifiers import additions
from classifiers.effect import measure
from classifiers.rows import same
from router.cli.classifier_terminal import bars, print_table, refusals
from router.cli.exemplar_text import COLUMNS, as_json, moved_lines, table_lines, text_lines
from router.cli.options import ENCODER
from router.wiring.settings import shipped

NOT_SAVED = 3
CODES = (
    "Exit codes: 0 saved, 1 refused and why, 2 wrong usage, "
    "3 measured but not saved: the answer was no, or there was no terminal to ask on and no --yes."
)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def command() -> None:
    """Teach the classifier a prompt, and see first what that changes."""


@command.command(epilog=CODES)
@click.argument("texts", nargs=-1, required=True, metavar="TEXT...")
@click.option("--label", required=True, help="What the text should have been.")
@click.option("--lang", help="Its language, such as ru or en; guessed from the script when left out.")
@click.option("--new-label", is_flag=True, help="The label is new; it needs ten texts before it can be learned.")
@click.option(
    "--exemplars", type=_FOLDER, show_default="policies/exemplars", help="The folder that the text is added to."
)
@click.option(
    "--eval", "evaluations", type=_FILE, multiple=True, help="Labelled JSONL to measure the effect on. Repeatable."
)
@ENCODER
@click.option("--data", type=_FOLDER, default=Path(".agoge"), show_default=True, help="Where built files go.")
@click.option("--yes", is_flag=True, help="Save without asking.")
@click.option("--json", "as_data", is_flag=True, help="Print one JSON object; asks nothing.")
def add(
    texts: Sequence[str],
    label: str,
    lang: str | None,
    new_label: bool,
    exemplars: Path | None,
    evaluations: Sequence[Path],
    encoder: str,
    data: Path,
    yes: bool,
    as_data: bool,
) -> None:
    """Add TEXT to the exemplars of a label: train with and without it, print the effect, ask, save."""
    try:
        "".join((*texts, label, lang or "")).encode()
    except UnicodeEncodeError:
        raise click.UsageError("TEXT, --label and --lang must be UTF-8") from None
    folder = exemplars or shipped("policies", "exemplars")
    files = evaluations or (() if exemplars else sorted(shipped("policies").glob("*.jsonl")))
    with refusals():
        adding = additions.prepare(folder, label, texts, lang, new_label)
        sets = {str(file): classifiers.read_rows(file) for file in files}
        for name, rows in sets.items():
            _warn_of_leaks(name, rows, adding.rows)
        with bars() as progress:
            before = classifiers.ensure(data / "classifier", folder, encoder, progress)
            effect = measure(before, adding.rows, sets, progress)
    if not as_data:
        for line in text_lines(effect, adding.file):
            click.echo(line)
        click.echo()
        print_table(COLUMNS, table_lines(effect))
        for line in moved_lines(effect):
            click.echo(line)
    saving = yes or (not as_data and _asked(len(adding.rows), adding.file))
    if saving:
        with refusals():
            additions.save(adding)
    if as_data:
        click.echo(json.dumps(as_json(effect, adding.file, saving), ensure_ascii=False, indent=2))
    elif saving:
        click.echo(f"saved to {adding.file}; the classifier is trained anew when it is next opened")
    if not saving:
        click.echo("nothing was saved" + ("" if _terminal() else "; --yes saves without asking"), err=True)
        sys.exit(NOT_SAVED)


def _warn_of_leaks(name: str, rows: Sequence[classifiers.Row], added: Sequence[classifiers.Row]) -> None:
    there = {same(row.text) for row in rows}
    if leaked := sum(same(row.text) in there for row in added):
        click.echo(f"{name}: holds {leaked} of the new texts itself, so its figures flatter", err=True)


def _asked(count: int, file: Path) -> bool:
    what = "it" if count == 1 else f"these {count}"
    return _terminal() and click.confirm(f"Save {what} to {file}?", err=True)


def _terminal() -> bool:
    return sys.stdin.isatty()
