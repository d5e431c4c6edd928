"""`agoge blends verify`: is what was built still what it should be? Prints; `blends.audit` finds out."""

from __future__ import annotations

import json
from pathlib import Path

import click

from blends.audit import audit
from blends.manifest import ManifestInvalid, ManifestMissing, read_manifest
from router.cli.blends_text import BLENDS, members
from router.cli.options import fail
from router.cli.policy import CODES, FAILED, OK
from router.cli.tables import counted

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(epilog=CODES)
@BLENDS
@click.option("--sources", type=_FOLDER, help="Where relative sources start; the policy's folder at build time.")
@click.option("--hub-cache", type=_FOLDER, help="Where hub: sources are kept; HF_HUB_CACHE otherwise.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(folder: Path, sources: Path | None, hub_cache: Path | None, as_json: bool) -> None:
    """Hash sources and folders again, and prove every blend against its members once more.

    good; stale: a source changed since; missing or damaged: the folder; unproved: it is not the promised sum.
    """
    try:
        manifest = read_manifest(folder)
    except (ManifestMissing, ManifestInvalid) as fault:
        fail(fault)
    found = []
    for finding in audit(folder, manifest, sources or folder / manifest.sources, hub_cache):
        found.append(finding)
        if not as_json:
            good = finding.state == "good"
            line = f"{finding.state:9}{finding.entry.served}  ({members(finding.entry)}): {finding.why}"
            click.secho(line, fg=None if good else "red")
    bad = [finding for finding in found if finding.state != "good"]
    if as_json:
        blends = [
            {"blend": f.entry.blend, "served": f.entry.served, "state": f.state, "why": f.why} for f in found
        ]
        click.echo(json.dumps({"ok": not bad, "blends": blends}, ensure_ascii=False, indent=2))
    elif bad:
        click.secho(f"{len(bad)} of {counted(len(found), 'blend')} not as they should be", fg="red", err=True)
    else:
        click.secho(f"{counted(len(found), 'blend')}, all equal to what their policy says", fg="green")
    raise SystemExit(FAILED if bad else OK)
