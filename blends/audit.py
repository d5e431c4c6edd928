"""Is what was built still what it should be? Hashes sources and folders again and proves every blend anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from blends.adapter import AdapterRefused
from blends.folders import EXACT_ERROR
from blends.manifest import Entry, Manifest, Part
from blends.sources import SourceRefused, resolve
from blends.spec import member_of, source_sha256
from blends.verify import CompositeBroken, proved

State = Literal["good", "stale", "missing", "damaged", "unproved"]
"""stale: a source changed since, or is gone. missing, damaged: the folder. unproved: not the promised sum."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one blend, and why."""

    entry: Entry
    state: State
    why: str = ""


def audit(folder: Path, manifest: Manifest, relative_to: Path, cache_dir: Path | None = None) -> Iterator[Finding]:
    """Yield a finding per blend of the manifest in `folder`; `relative_to` is where relative sources start."""
    hashes: dict[str, str] = {}
    for entry in manifest.entries:
        yield _finding(folder / entry.folder, entry, relative_to, cache_dir, hashes)


def _finding(
    place: Path, entry: Entry, relative_to: Path, cache_dir: Path | None, hashes: dict[str, str]
) -> Finding:
    if not place.is_dir():
        return Finding(entry, "missing", f"there is no folder {place}; build again")
    try:
        held = source_sha256(place)
    except AdapterRefused as fault:
        return Finding(entry, "damaged", f"{fault}; build again")
    if held != entry.sha256:
        return Finding(entry, "damaged", f"the files in {place} are not the ones that were built; build again")
    members = []
    for part in entry.members:
        try:
            source = resolve(part.source, relative_to, cache_dir)
            if _hash(source, part, hashes) != part.sha256:
                return Finding(entry, "stale", f"{part.name} ({part.source}) has changed since; build again")
            member = member_of(part.name, source, part.weight)
        except (SourceRefused, AdapterRefused) as fault:
            return Finding(entry, "stale", f"{part.name}: {fault}")
        members.append((member.adapter, member.weight))
    try:
        error = proved(place, members)
    except CompositeBroken as fault:
        return Finding(entry, "unproved", str(fault))
    limit = EXACT_ERROR if entry.method == "exact" else max(entry.error * 1.01, EXACT_ERROR)
    if not error <= limit:
        return Finding(entry, "unproved", f"its error is {error:.1e}, at most {limit:.1e} was to be expected")
    return Finding(entry, "good", f"error {error:.1e}")


def _hash(source: Path, part: Part, hashes: dict[str, str]) -> str:
    if part.source not in hashes:
        hashes[part.source] = source_sha256(source)
    return hashes[part.source]
