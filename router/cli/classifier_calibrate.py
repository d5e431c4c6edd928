"""`agoge classifier calibrate`: gates with a guarantee, and which gates of a policy lie below them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

import classifiers
from classifiers.calibrate import CONFIDENCE, ERROR
from router.cli.classifier_terminal import CLASSIFIER, EXEMPLARS, bars, load_or_train, refusals
from router.cli.classifier_text import print_calibration
from router.cli.policy import load
from router.core.policy import Policies, WhenLabel
from router.wiring.settings import shipped

_FILE = click.Path(dir_okay=False, path_type=Path)
_SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)
Gate = tuple[str, str, float]
"""(adapter, label, at_least)"""


@click.command(
    epilog="Exit codes: 0 gates chosen and saved, 1 no gates pass or --policy has lower ones, 2 wrong usage."
)
@click.option(
    "--error", type=_SHARE, default=ERROR, show_default=True, help="The most wrong domains per routed prompt."
)
@click.option("--confidence", type=_SHARE, default=CONFIDENCE, show_default=True, help="How sure of that.")
@click.option("--data", type=_FILE, help="Labelled JSONL that was never trained on; else the exemplars.")
@click.option(
    "--ignore",
    "ignored",
    multiple=True,
    show_default="general, or with --policy what it gives no gate",
    help="A label that opens no domain. Repeatable.",
)
@click.option("--policy", type=_FILE, help="Name each adapter of this policy whose gate lies below.")
@CLASSIFIER
@EXEMPLARS
@click.option("--json", "as_data", is_flag=True, help="Print one JSON object.")
def calibrate(
    error: float,
    confidence: float,
    data: Path | None,
    ignored: Sequence[str],
    policy: Path | None,
    folder: Path,
    exemplars: Path | None,
    as_data: bool,
) -> None:
    """Choose each label's at_least so that few routed prompts go to a wrong domain, guaranteed by language."""
    gates = _gates(load(policy, as_data)[1]) if policy is not None else []
    with refusals(), bars() as progress:
        classifier = load_or_train(folder, exemplars or shipped("policies", "exemplars"), progress)
        passed_over = _passed_over(classifier.labels, ignored, gates if policy is not None else None)
        found = classifiers.calibrate(classifier, error, confidence, data, passed_over, progress)
        if found.obstacle is None:  # a refusal leaves the artefact, and what it promised before, as it was
            replace(classifier, calibration=found).save(folder)
    below = [gate for gate in gates if gate[1] in found.gates and gate[2] < found.gates[gate[1]]]
    if as_data:
        told = {"gates": found.gates, "obstacle": found.obstacle, **found.as_json()}
        names = [{"adapter": a, "label": b, "at_least": c, "calibrated": found.gates[b]} for a, b, c in below]
        click.echo(json.dumps({**told, "below": names}, ensure_ascii=False, indent=2))
    else:
        print_calibration(found)
        for adapter, label, gate in below:
            click.echo(f"{policy}: {adapter} opens at {label} >= {gate:g}, below {found.gates[label]:g}", err=True)
    if below or found.obstacle is not None:
        sys.exit(1)


def _gates(policies: Policies) -> list[Gate]:
    """Every gate of every tenant and role, once."""
    return sorted(
        {
            (adapter.name, adapter.when.label, adapter.when.at_least)
            for policy in policies.profiles.values()
            for adapter in policy.adapters
            if isinstance(adapter.when, WhenLabel)
        }
    )


def _passed_over(
    labels: Sequence[str], ignored: Sequence[str], gates: Sequence[Gate] | None
) -> Sequence[str] | None:
    if ignored or gates is None:
        return ignored or None
    gated = {label for _, label, _ in gates}
    if unknown := gated - set(labels):
        raise classifiers.RowError(f"the policy waits for {', '.join(sorted(unknown))}, which no exemplar has")
    return [label for label in labels if label not in gated]
