"""`agoge blends canary`: do the blends of live engines act? Prints; `router.canary` finds out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import click

from router.canary.findings import Finding
from router.cli.options import FILE, fail, read_settings
from router.cli.policy import CODES, FAILED, OK
from router.cli.tables import counted, print_table
from router.core.errors import AgogeError
from router.wiring.examining import Examined, examine
from router.wiring.settings import Settings


@click.command(epilog=CODES)
@click.option(
    "--policy", type=FILE, show_default="policies/default.yaml", help="The policy whose blends are asked."
)
@click.option("--backend", multiple=True, metavar="NAME=ADDRESS", help="Where a backend is; may be repeated.")
@click.option(
    "--blends", type=FILE, help="What `agoge blends build` wrote, with reference.json where there is one."
)
@click.option("--data", type=FILE, default=Path(".agoge"), show_default=True, help="Where converted adapters are.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(policy: Path | None, backend: Sequence[str], blends: Path | None, data: Path, as_json: bool) -> None:
    """Ask every engine of the policy, once, whether each blend really acts.

    Greedy answers with log-probabilities: each blend must differ from the bare base and from every other one, at
    the first token and later; later tokens must be computed with it; its scale must be PEFT's, where
    reference.json has it; and it must stay itself while all speak at once. About nine calls per blend.
    """
    settings = read_settings(
        policy=policy, backend=backend, blends=blends, cache="none:", keys=None, classifier=None, exemplars=None,
        encoder="use", data=data,
    )  # fmt: skip
    try:
        found = asyncio.run(_examined(settings, as_json))
    except (AgogeError, OSError) as error:
        fail(error)
    if as_json:
        click.echo(
            json.dumps({"ok": not any(map(_bad, found)), "engines": [_data(each) for each in found]}, indent=2)
        )
    else:
        for each in found:
            _print(each)
    raise SystemExit(FAILED if any(map(_bad, found)) or not found else OK)


async def _examined(settings: Settings, quiet: bool) -> list[Examined]:
    found = []
    async for each in examine(settings, lambda text: None if quiet else click.echo(text, err=True)):
        found.append(each)
    return found


def _bad(each: Examined) -> bool:
    return each.trouble is not None or bool(each.missing) or any(f.reason is not None for f in each.findings)


def _data(each: Examined) -> dict[str, Any]:
    findings = [{name: _plain(value) for name, value in asdict(f).items()} for f in each.findings]
    return {**asdict(each), "findings": findings}


def _plain(value: object) -> object:
    """JSON has no infinity; two speakers that part are farther apart than any number."""
    return None if isinstance(value, float) and not isfinite(value) else value


def _print(each: Examined) -> None:
    click.secho(each.engine, bold=True)
    if each.findings:
        head = ("blend", "vs base", "prefill", "decode", "reference", "mixing", "")
        print_table(head, [_row(finding) for finding in each.findings])
        click.echo(f"  noise of the base {each.noise:.3f}, {counted(each.calls, 'call')}, {each.seconds:.1f} s")
    for blend in each.missing:
        click.secho(f"  {blend}: the engine does not hold it", fg="red")
    if each.note is not None:
        click.echo(f"  {each.note}")
    if each.trouble is not None:
        click.secho(f"  {each.trouble}", fg="red")
    for finding in each.findings:
        if finding.reason is not None:
            click.secho(f"  {finding.blend}: {finding.reason}", fg="red")


def _row(finding: Finding) -> tuple[str, ...]:
    unproven = "not proven" if finding.reference is None else f"{finding.reference:.3f}"
    figures = (finding.base, finding.nearest, finding.decode)
    acts = "acts" if finding.reason is None else "DOES NOT ACT"
    shown = ["" if figure is None else f"{figure:.3f}" for figure in (*figures, finding.mixing)]
    return (finding.blend, *shown[:3], unproven, shown[3], acts)
