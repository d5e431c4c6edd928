"""Bring a running vLLM or SGLang up to date with what was built. Knows the two drivers; knows no policy."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Mapping

import click

from router.backends.sglang import SglangBackend
from router.backends.vllm import VllmBackend
from router.cli.policy import FAILED, OK
from router.cli.tables import counted
from router.core.errors import BackendFailed, Refused
from router.wiring.secret import secret

_BUILT = re.compile(r".+-[0-9a-f]{12}")
"""A name that a build gave. Adapters of other names are somebody else's and stay."""


def load(engine: str, url: str, wanted: Mapping[str, str], *, unload: bool, api_key_env: str | None) -> int:
    """Load what the engine at `url` lacks of `wanted` (name -> folder), and say what happened; an exit code.

    New names come before old ones go: there is no moment in which a blend of the policy is served by nobody.
    """
    key = secret(os.environ, api_key_env) if api_key_env else None
    if api_key_env and not key:
        raise click.UsageError(f"--api-key-env: {api_key_env} is not set, nor is {api_key_env}_FILE")
    driver = VllmBackend if engine == "vllm" else SglangBackend
    try:
        backend = driver(url, url, api_key=key)
    except ValueError as fault:
        raise click.UsageError(f"--load: {fault}") from fault
    return asyncio.run(_update(backend, wanted, unload))


async def _update(backend: VllmBackend | SglangBackend, wanted: Mapping[str, str], unload: bool) -> int:
    try:
        try:
            held = (await backend.inventory()).names
        except Refused as fault:
            click.secho(f"agoge: {fault}", fg="red", err=True)
            return FAILED
        missing = [name for name in wanted if name not in held]
        loaded = [await _done("loaded", name, backend.load(name, wanted[name])) for name in missing]
        old = sorted(name for name in held - wanted.keys() if _BUILT.fullmatch(name)) if unload else []
        if not all(loaded):
            old = []  # the new ones are not all there yet: what still serves stays
        gone = [await _done("unloaded", name, backend.unload(name)) for name in old]
    finally:
        await backend.aclose()
    click.echo(
        f"{counted(sum(loaded), 'blend')} loaded, {len(wanted) - len(missing)} were there, "
        f"{sum(gone)} unloaded; {counted(loaded.count(False) + gone.count(False), 'failure')}"
    )
    return OK if all(loaded) and all(gone) else FAILED


async def _done(what: str, name: str, update: Awaitable[None]) -> bool:
    try:
        await update
    except BackendFailed as fault:
        click.secho(f"agoge: {fault}", fg="red", err=True)
        return False
    click.echo(f"{what} {name}", err=True)
    return True
