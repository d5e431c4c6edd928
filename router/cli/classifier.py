"""`agoge classifier`: train, evaluate, show. Knows the terminal and `classifiers`; knows no policy and no engine.

Results go to standard output, progress and remarks to standard error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress as Bar
from rich.table import Table

import classifiers
from classifiers.artefact import manifest_of, read_manifest
from classifiers.rows import digest
from router.wiring.settings import shipped

ARTEFACT = Path(".agoge/classifier")

_FOLDER = click.Path(file_okay=False, path_type=Path)
_EXEMPLARS = click.option(
    "--exemplars", type=_FOLDER, show_default="policies/exemplars", help="Folder of *.jsonl with labelled prompts."
)
_CLASSIFIER = click.option(
    "--classifier", "folder", type=_FOLDER, default=ARTEFACT, show_default=True, help="The trained artefact."
)
_ENCODER = click.option(
    "--encoder", default="use", show_default=True, help="use, st:FOLDER-OR-HUB-ID or onnx:EXPORTED-FOLDER"
)


@click.group()
def command() -> None:
    """Train, evaluate and show the classifier."""


@command.command()
@_EXEMPLARS
@_ENCODER
@click.option("--out", type=_FOLDER, default=ARTEFACT, show_default=True, help="Where the artefact is written.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the split into topics.")
def train(exemplars: Path | None, encoder: str, out: Path, seed: int) -> None:
    """Train a classifier on exemplars and write the artefact."""
    with refusals(), bars() as progress:
        rows = classifiers.read_exemplars(exemplars or shipped("policies", "exemplars"))
        trained = classifiers.train(rows, classifiers.open_encoder(encoder), seed, progress)
        trained.save(out)
    _print_manifest(manifest_of(trained), out)


@command.command()
@click.option("--data", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Labelled JSONL.")
@_CLASSIFIER
@_EXEMPLARS
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(data: Path, folder: Path, exemplars: Path | None, as_json: bool) -> None:
    """Measure a classifier on labelled rows; without an artefact one is trained from the exemplars first."""
    with refusals(), bars() as progress:
        rows = classifiers.read_rows(data)
        classifier = _load_or_train(folder, exemplars or shipped("policies", "exemplars"), progress)
        report = classifiers.evaluate(classifier, rows, progress)
    if as_json:
        click.echo(json.dumps({**report, "fingerprint": classifier.fingerprint}, ensure_ascii=False, indent=2))
        return
    _print_figures(report)
    _print_labels(report["labels"])


@command.command()
@_CLASSIFIER
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as one JSON object.")
def show(folder: Path, as_json: bool) -> None:
    """Print what an artefact is: encoder, labels, counts and the figures of its cross-validation."""
    with refusals():
        manifest = read_manifest(folder)
    if as_json:
        click.echo(json.dumps(manifest, ensure_ascii=False, indent=2))
        return
    _print_manifest(manifest, folder)


def _load_or_train(folder: Path, exemplars: Path, progress: classifiers.Progress) -> classifiers.Classifier:
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


def _print_manifest(manifest: Mapping[str, Any], folder: Path) -> None:
    training, around = manifest["training"], manifest["neighbourhood"]
    facts = {
        "artefact": f"{folder}  {manifest['fingerprint']}",
        "encoder": f"{manifest['encoder']['spec']}  {manifest['encoder']['id']}",
        "exemplars": f"{sum(manifest['counts'].values())}, sha256 {manifest['rows_sha256'][:16]}",
        "head": f"C {training['strength']:g}, temperature {manifest['head']['temperature']:.3f}",
        "out of domain": f"similarity below {around['threshold']:.3f} (mean of {around['nearest']} nearest)",
        "scikit-learn": manifest["sklearn"],
    }
    for name, value in facts.items():
        click.echo(f"{name:<14} {value}")
    click.echo("\nCross-validation on exemplars, whole topics held out:")
    _print_figures(training["cross_validation"])
    _print_labels(training["cross_validation"]["labels"])


def _print_figures(figures: Mapping[str, Any]) -> None:
    columns = [name for name in ("accuracy", "macro_f1", "ece", "out_of_domain") if name in figures]
    lines = [
        [lang, str(count), *(f"{figures[name][lang]:.3f}" for name in columns)]
        for lang, count in figures["rows"].items()
    ]
    print_table(["language", "rows", *columns], lines)


def _print_labels(labels: Mapping[str, Any]) -> None:
    columns = ("precision", "recall", "f1")
    lines = [
        [label, str(one["support"]), *(f"{one[name]:.3f}" for name in columns)] for label, one in labels.items()
    ]
    print_table(["label", "rows", *columns], lines)


def print_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    console = Console(width=100)
    console.print(table)
