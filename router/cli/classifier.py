"""`agoge classifier`: train, evaluate, calibrate, show. Knows the terminal and `classifiers`; no policy or engine.

Results go to standard output, progress and remarks to standard error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

import classifiers
from classifiers.artefact import calibration_in, manifest_of, read_manifest
from classifiers.calibrate import recalibrate, remark
from classifiers.calibration import from_json
from classifiers.folds import SPLITS, TOPICS
from router.cli.classifier_calibrate import calibrate
from router.cli.classifier_terminal import (
    ARTEFACT,
    CLASSIFIER,
    EXEMPLARS,
    FOLDER,
    bars,
    load_or_train,
    print_table,
    refusals,
)
from router.cli.classifier_text import print_calibration
from router.cli.options import ENCODER
from router.wiring.settings import shipped


@click.group()
def command() -> None:
    """Train, evaluate, calibrate and show the classifier."""


command.add_command(calibrate)


@command.command()
@EXEMPLARS
@ENCODER
@click.option("--out", type=FOLDER, default=ARTEFACT, show_default=True, help="Where the artefact is written.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the split.")
@click.option(
    "--held-out",
    type=click.Choice(list(SPLITS)),
    default=TOPICS,
    show_default=True,
    help="What confidence is fitted on: whole topics, or single rows where the exemplars are a sample of the "
    "prompts to come, such as a log labelled by hand.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as one JSON object.")
def train(exemplars: Path | None, encoder: str, out: Path, seed: int, held_out: str, as_json: bool) -> None:
    """Train a classifier on exemplars and write the artefact; gates it was calibrated with are chosen anew."""
    with refusals(), bars() as progress:
        rows = classifiers.read_exemplars(exemplars or shipped("policies", "exemplars"))
        before = calibration_in(out)
        fitted = classifiers.train(rows, classifiers.open_encoder(encoder), seed, progress, held_out)
        trained = recalibrate(fitted, before, progress)
        trained.save(out)
    if before is not None and trained.calibration is not None:
        click.echo(remark(before, trained.calibration), err=True)
    if as_json:
        click.echo(json.dumps(manifest_of(trained), ensure_ascii=False, indent=2))
        return
    _print_manifest(manifest_of(trained), out)


@command.command()
@click.option("--data", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Labelled JSONL.")
@CLASSIFIER
@EXEMPLARS
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(data: Path, folder: Path, exemplars: Path | None, as_json: bool) -> None:
    """Measure a classifier on labelled rows; without an artefact one is trained from the exemplars first."""
    with refusals(), bars() as progress:
        rows = classifiers.read_rows(data)
        classifier = load_or_train(folder, exemplars or shipped("policies", "exemplars"), progress)
        report = classifiers.evaluate(classifier, rows, progress)
    if as_json:
        click.echo(json.dumps({**report, "fingerprint": classifier.fingerprint}, ensure_ascii=False, indent=2))
        return
    _print_figures(report)
    _print_labels(report["labels"])


@command.command()
@CLASSIFIER
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as one JSON object.")
def show(folder: Path, as_json: bool) -> None:
    """Print what an artefact is: encoder, labels, counts and the figures of its cross-validation."""
    with refusals():
        manifest = read_manifest(folder)
    if as_json:
        click.echo(json.dumps(manifest, ensure_ascii=False, indent=2))
        return
    _print_manifest(manifest, folder)


def _print_manifest(manifest: Mapping[str, Any], folder: Path) -> None:
    training, head = manifest["training"], manifest["head"]
    facts = {
        "artefact": f"{folder}  {manifest['fingerprint']}",
        "encoder": f"{manifest['encoder']['spec']}  {manifest['encoder']['id']}",
        "exemplars": f"{sum(manifest['counts'].values())}, sha256 {manifest['rows_sha256'][:16]}",
        "head": f"bandwidth {head['bandwidth']:g}, sharpness {head['sharpness']:.2f}, power {head['power']:.2f}",
        "out of domain": f"strangeness above {manifest['limit']:.3f} ({manifest['nearest']} nearest)",
    }
    for name, value in facts.items():
        click.echo(f"{name:<14} {value}")
    whole = "whole topics" if training["held_out"] == TOPICS else "single rows"
    click.echo(f"\nCross-validation on exemplars, {whole} held out:")
    _print_figures(training["cross_validation"])
    _print_labels(training["cross_validation"]["labels"])
    if manifest["calibration"] is None:
        click.echo("\nNo gates with a guarantee yet: `agoge classifier calibrate`.")
    else:
        click.echo("")
        print_calibration(from_json(manifest["calibration"]))


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
