"""`agoge adapter`: names its verbs and where they live, and nothing else."""

from __future__ import annotations

import click

from router.cli.lazy import LazyGroup
from router.cli.policy import CODES

VERBS: dict[str, tuple[str, str]] = {
    "init": ("router.cli.adapter_init", "Write a documented folder to start an adapter from."),
    "train": ("router.cli.adapter_train", "Train an adapter, a domain beside its frozen core."),
    "check": ("router.cli.adapter_check", "Measure voice, knowledge and leakage on held-out texts."),
}


@click.group(cls=LazyGroup, verbs=VERBS, epilog=CODES)
def command() -> None:
    """Make LoRA adapters: a core, domains beside it, and isolated ones."""
