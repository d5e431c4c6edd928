"""What the commands of `agoge classifier` share: options, refusals, bars, tables. Knows no single command.

Results go to standard output, progress and remarks to standard error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress as Bar
from rich.table import Table

import classifiers
from classifiers.rows import digest

ARTEFACT = Path(".agoge/classifier")

FOLDER = click.Path(file_okay=False, path_type=Path)
EXEMPLARS = click.option(
    "--exemplars", type=FOLDER, show_default="policies/exemplars", help="Folder of *.jsonl with labelled prompts."
)
CLASSIFIER = click.option(
    "--classifier", "folder", type=FOLDER, default=ARTEFACT, show_default=True, help="The trained artefact."
)


def load_or_train(folder: Path, exemplars: Path, progress: classifiers.Progress) -> classifiers.Classifier:
    if not folder.exists():
        click.echo(f"{folder}: no classifier yet, training it from {exemplars}", err=True)
        return classifiers.ensure(folder, exemplars, "use", progress)
    classifier = classifiers.Classifier.load(folder)
    # An artefact is measured as it is, whoever made it; but say so when it is not of these exemplars.
    if exemplars.is_dir() and digest(classifiers.read_exemplars(exemplars)) != digest(classifier.rows):
        click.echo(f"{folder}: not trained on {exemplars} as it is now", err=True)
    return classifier


@contextmanager
def refusals() -> Iterator[None]:
    """Turn refusals into one line on standard error and exit status 1."""
    try:
        yield
    except (classifiers.ClassifierError, OSError) as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def bars() -> Iterator[classifiers.Progress]:
    """A progress bar per stage, on standard error."""
    with Bar(console=Console(stderr=True)) as bar:
        stages: dict[str, Any] = {}

        def advance(stage: str, done: int, total: int, /) -> None:
            if stage not in stages:
                stages[stage] = bar.add_task(stage, total=total)
            bar.update(stages[stage], completed=done)

        yield advance


def print_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    console = Console(width=100)
    console.print(table)
