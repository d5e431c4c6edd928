"""`agoge blends`: names its verbs and where they live, and nothing else."""

from __future__ import annotations

import click

from router.cli.lazy import LazyGroup
from router.cli.policy import CODES

VERBS: dict[str, tuple[str, str]] = {
    "compose": ("router.cli.blends_compose", "Compose one blend from adapter folders."),
    "build": ("router.cli.blends_build", "Build every blend that a policy can reach."),
    "show": ("router.cli.blends_show", "List what was built."),
    "verify": ("router.cli.blends_verify", "Hash and prove what was built once more."),
    "conflicts": ("router.cli.blends_conflicts", "Measure how much adapters lose beside each other."),
    "reference": ("router.cli.blends_reference", "Compute what PEFT says for each blend, for the canary."),
    "publish": ("router.cli.blends_publish", "Say how an engine is launched with the blends, or load them."),
    "canary": ("router.cli.blends_canary", "Ask live engines whether every blend really acts."),
    "merge": ("router.cli.blends_merge", "Merge one blend into a full model."),
}


@click.group(cls=LazyGroup, verbs=VERBS, epilog=CODES)
def command() -> None:
    """Compose, build, verify and publish blends: adapters that speak at once, as one."""
