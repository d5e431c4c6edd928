"""Entry point of `agoge`. Knows the names of the verb groups and where they live, and nothing else."""

from __future__ import annotations

import sys
from typing import Any

import click

from router import __version__
from router.cli.lazy import LazyGroup

# verb -> (module that holds a click command called `command`, one-line help). Imported on use: `agoge --help`
# must not pay for onnxruntime, and `agoge policy check` must not need an engine.
VERBS: dict[str, tuple[str, str]] = {
    "serve": ("router.cli.serve", "Serve the chat endpoint."),
    "slack": ("router.cli.slack", "Answer in Slack over Socket Mode."),
    "demo": ("router.cli.demo", "Serve, ask four prompts, print who spoke and why, keep serving."),
    "decide": ("router.cli.decide", "Decide for one prompt and print the decision; no engine is called."),
    "ask": ("router.cli.ask", "Ask a running server once and print its answer as it comes."),
    "chat": ("router.cli.chat", "Talk with a running server; each answer says who spoke."),
    "policy": ("router.cli.policy", "Check, show, test and compare policies; list the blends they reach."),
    "classifier": ("router.cli.classifier", "Train, evaluate, calibrate and show the classifier."),
    "exemplar": ("router.cli.exemplar", "Teach the classifier a prompt, and see first what that changes."),
    "outcomes": ("router.cli.outcomes", "Count what people thought of decisions; learn from it."),
    "blends": ("router.cli.blends", "Compose, build, verify and publish blends of adapters."),
    "adapter": ("router.cli.adapter", "Start, train and check LoRA adapters."),
    "completion": ("router.cli.completion", "Print the script with which a shell completes `agoge`."),
}


_CONTEXT = {"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "AGOGE"}


@click.group(cls=LazyGroup, verbs=VERBS, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="agoge")
def command() -> None:
    """Agoge decides which LoRA adapters should speak."""


def main(argv: list[str] | None = None) -> Any:
    """Run the command line; `argv` defaults to the process's own arguments."""
    return command.main(args=argv if argv is not None else sys.argv[1:], prog_name="agoge")
