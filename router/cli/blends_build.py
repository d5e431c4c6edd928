"""`agoge blends build`: everything a policy can reach. Shows progress; what is built, `blends.build` decides."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from blends.build import BuildBusy, BuildRefused, Built, ConflictOf, Progress, build
from blends.manifest import FILE, as_data
from blends.spec import Spec
from router.cli.blends_text import DEFAULT, size
from router.cli.options import fail
from router.cli.policy import CODES, FAILED, load
from router.cli.tables import counted
from router.wiring.blends import specs_of

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(epilog=f"{CODES} The last good {FILE} stays when something is wrong.")
@click.argument("policy", required=False, type=click.Path(path_type=Path))
@click.option("--out", type=_FOLDER, default=DEFAULT, show_default=True, help="Where folders and manifest go.")
@click.option("--jobs", type=click.IntRange(1), help="Processes at a time; as many as there are cores by default.")
@click.option("--layers", type=click.IntRange(1), help="Layers of the base, for adapters trained on some of them.")
@click.option("--hub-cache", type=_FOLDER, help="Where hub: sources are kept; HF_HUB_CACHE otherwise.")
@click.option(
    "--base",
    "base_at",
    metavar="FOLDER|GGUF|HUB-ID",
    help="Where the base model lies, for a policy with refuse_conflict_above; the carried one, or its own id.",
)
@click.option("--prune", is_flag=True, help="Remove built folders that nothing names any more.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(
    policy: Path | None,
    out: Path,
    jobs: int | None,
    layers: int | None,
    hub_cache: Path | None,
    base_at: str | None,
    prune: bool,
    as_json: bool,
) -> None:
    """Build every blend that any tenant or role of POLICY can reach (policies/default.yaml when left out).

    One folder per blend, named by its content, and a manifest. What is there and intact is not built again; each
    result is proved equal to the weighted sum of its members before the manifest names it.
    """
    path, policies = load(policy, as_json)
    specs = specs_of(policies)
    try:
        with _progress(f"{counted(len(specs), 'blend')} of {path}", quiet=as_json) as say:
            built = build(
                specs,
                out,
                path.parent,
                jobs,
                say,
                conflict_of=_conflict_of(specs, path.parent, base_at, hub_cache),
                cache_dir=hub_cache,
                layers=layers,
                prune_unnamed=prune,
            )
    except BuildRefused as refused:
        _refuse(refused, out, as_json)
    except (BuildBusy, OSError) as fault:
        fail(fault)
    if as_json:
        facts = {"made": built.made, "reused": built.reused, "pruned": built.pruned}
        entries = [as_data(entry) for entry in built.manifest.entries]
        click.echo(json.dumps({"ok": True, **facts, "blends": entries}, ensure_ascii=False, indent=2))
        return
    click.secho(_sentence(built, out), fg="green")


def _conflict_of(
    specs: tuple[Spec, ...], sources: Path, base_at: str | None, hub_cache: Path | None
) -> ConflictOf | None:
    """Return how conflicts are measured; None when no policy has a gate."""
    if all(spec.refuse_conflict_above is None for spec in specs):
        return None
    from blends.conflicts import Meter

    return Meter(sources, base_at, hub_cache, lambda what: click.echo(f"  measuring {what}", err=True))


def _sentence(built: Built, out: Path) -> str:
    entries = built.manifest.entries
    folders = {entry.served: entry for entry in entries}.values()
    disk, memory = sum(entry.bytes for entry in folders), sum(entry.memory_bytes for entry in folders)
    worst = max((entry.error for entry in entries if entry.method == "exact"), default=0.0)
    lossy = sum(entry.method != "exact" for entry in entries)
    text = (
        f"{counted(len(entries), 'blend')} in {out}: {len(built.made)} built, {len(built.reused)} as before; "
        f"{size(disk)} on disk, {size(memory)} in an engine that holds them all. "
        f"Every exact one equals its weighted sum up to {worst:.0e}."
    )
    if lossy:
        text += f" {counted(lossy, 'blend')} merged by a lossy method, as the policy asks (agoge blends show)."
    if built.pruned:
        text += f" Removed {counted(len(built.pruned), 'folder')} that nothing named."
    return text + " Next: agoge blends publish --engine tgi|vllm|sglang|llamacpp"


def _refuse(refused: BuildRefused, out: Path, as_json: bool) -> None:
    """Print everything that could not be built, and leave with 1."""
    if as_json:
        problems = [{"blend": blend, "reason": reason} for blend, reason in refused.problems]
        click.echo(json.dumps({"ok": False, "problems": problems}, ensure_ascii=False, indent=2))
    else:
        for blend, reason in refused.problems:
            click.echo(f"{blend}: {reason}", err=True)
        stays = f"; {out / FILE} is as it was" if (out / FILE).exists() else ""
        click.secho(f"{counted(len(refused.problems), 'blend')} cannot be built{stays}", fg="red", err=True)
    raise SystemExit(FAILED)


@contextmanager
def _progress(title: str, *, quiet: bool) -> Iterator[Progress | None]:
    """Yield what shows progress on standard error: a bar on a terminal, a line per blend elsewhere."""
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        click.echo(title, err=True)
        yield lambda done, total, what: click.echo(f"  {done}/{total} {what}", err=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total, what: bar.update(task, completed=done, total=total)
