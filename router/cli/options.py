"""The options that every serving verb shares, and how they become Settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from router.wiring.secret import REDIS_PASSWORD, holds_password, with_redis_password
from router.wiring.settings import Settings, shipped

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)
ENCODER = click.option(
    "--encoder", default="use", show_default=True, help="use, e5, st:FOLDER-OR-HUB-ID, onnx:EXPORTED-FOLDER or A+B"
)


def no_password(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Let no password through that stands on the command line: whoever lists processes reads it there."""
    source = context.get_parameter_source(option.name or "")
    if value and source is click.core.ParameterSource.COMMANDLINE and holds_password(value):
        raise click.BadParameter(
            "everybody on this machine can read the command line; take the password out of it and put it into "
            f"{REDIS_PASSWORD}, or into the file that {REDIS_PASSWORD}_FILE names"
        )
    return value


_OPTIONS = [
    click.option("--policy", type=FILE, show_default="policies/default.yaml", help="The policy file."),
    click.option(
        "--backend",
        multiple=True,
        metavar="NAME=ADDRESS",
        help="Where a backend that the policy names is: embedded:[GGUF], tgi+http://HOST:PORT (or vllm+, sglang+, "
        "llamacpp+http), hub:https://HOST or litellm:PROVIDER/MODEL. May be repeated.",
    ),
    click.option("--blends", type=FILE, help="Serve what `agoge blends build` wrote into this folder."),
    click.option(
        "--cache",
        default="memory:",
        show_default=True,
        callback=no_password,
        help="memory:, redis://HOST:PORT/DB or none:",
    ),
    click.option(
        "--outcomes",
        callback=no_password,
        show_default="the cache's Redis, else outcomes.jsonl under --data",
        help="Where feedback is kept: a file, redis://HOST:PORT/DB or none:",
    ),
    click.option("--keys", type=FILE, help="A keys file: API key -> tenant and role."),
    click.option("--traces", metavar="URL", help="Send OpenTelemetry traces to this collector (OTLP over HTTP)."),
    click.option("--classifier", type=FILE, help="A trained artefact of your own, used as it is."),
    click.option("--exemplars", type=FILE, show_default="policies/exemplars", help="Folder of labelled *.jsonl."),
    ENCODER,
    click.option("--data", type=FILE, default=Path(".agoge"), show_default=True, help="Where built files go."),
]  # fmt: skip


def serving_options(command: F) -> F:
    """Add the shared options to a click command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_settings(
    *,
    policy: Path | None,
    backend: Sequence[str],
    blends: Path | None,
    cache: str,
    keys: Path | None,
    classifier: Path | None,
    exemplars: Path | None,
    encoder: str,
    data: Path,
    outcomes: str | None = None,
    traces: str | None = None,
) -> Settings:
    """Turn the options into Settings. Raises click.UsageError for a --backend without `=`, or given twice."""
    pairs: dict[str, str] = {}
    for text in backend:
        name, equals, address = text.partition("=")
        if not (name and equals and address):
            raise click.UsageError(
                f"--backend {text!r}: write NAME=ADDRESS, such as primary=tgi+http://127.0.0.1:8081"
            )
        if name in pairs:
            raise click.UsageError(f"--backend {name} is given twice; a backend has one address")
        pairs[name] = address
    return Settings(
        policy=policy or shipped("policies", "default.yaml"),
        exemplars=exemplars or shipped("policies", "exemplars"),
        encoder=encoder,
        data=data,
        blends=blends,
        classifier=classifier,
        cache=with_redis_password(cache, os.environ),
        outcomes=outcomes and with_redis_password(outcomes, os.environ),
        keys=keys,
        traces=traces,
        backends=pairs,
        environment=dict(os.environ),
    )


def fail(error: Exception) -> NoReturn:
    """Say what is wrong on standard error and exit with 1."""
    click.secho("agoge: " + str(error), fg="red", err=True)
    sys.exit(1)
