"""What is to be built, and the name it gets: a hash over everything that the result depends on. Builds nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blends.adapter import CONFIG, WEIGHTS, AdapterRefused, read_adapter
from blends.compose import VERSION, Member, file_sha256
from blends.manifest import Part
from blends.sources import resolve

_LONGEST = 200  # characters of the readable part: a folder's name has 255 bytes


@dataclass(frozen=True, slots=True)
class Spec:
    """One blend that a policy can reach. `id` is the policy's; `members` are (name, weight, source).

    `method` is a text that `Method.parse` reads. `refuse_conflict_above` is the share of what a member can alone
    that it may lose in the blend; None means that nothing is measured.
    """

    id: str
    members: tuple[tuple[str, float, str], ...]
    base: str
    alone: bool = False
    method: str = "exact"
    refuse_conflict_above: float | None = None

    def __str__(self) -> str:
        """Return the members for a person: `core x 1 + physics x 0.8`."""
        return " + ".join(f"{name} x {weight:g}" for name, weight, _ in self.members)


@dataclass(frozen=True, slots=True)
class Job:
    """A spec whose sources were found and hashed: all that a worker process needs, and the result's name.

    Two specs of equal content have equal jobs, whatever their policies call them.
    """

    served: str
    parts: tuple[Part, ...]
    folders: tuple[str, ...]
    base: str
    method: str
    layers: int | None = None

    def members(self) -> list[Member]:
        """Read the adapters, under the names that the policy gives them. Raises AdapterRefused."""
        return [
            member_of(part.name, Path(at), part.weight) for part, at in zip(self.parts, self.folders, strict=True)
        ]


def member_of(name: str, folder: Path, weight: float) -> Member:
    """Read one adapter under the name `name`; a hub snapshot's folder, for one, is called by its commit."""
    from dataclasses import replace

    return Member(replace(read_adapter(folder), name=name), weight)


def source_sha256(folder: Path) -> str:
    """Return the SHA-256 over an adapter's two files. Raises AdapterRefused when one is missing."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise AdapterRefused(f"{folder} holds no {name}: a PEFT adapter is that file and its sibling")
    digests = [file_sha256(folder / name) for name in (CONFIG, WEIGHTS)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def served_name(parts: Sequence[Part], base: str, method: str, layers: int | None = None) -> str:
    """Return `<names>-<12 hex digits>`, the name of the folder and the one that engines know the blend by.

    Where an adapter lies does not count, what it holds does: a retrained adapter gives another name, so that no
    engine reuses what it has cached of the old one.
    """
    content = [VERSION, base, method, layers, [[part.name, repr(part.weight), part.sha256] for part in parts]]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
    return f"{'+'.join(part.name for part in parts)[:_LONGEST]}-{digest}"


def job_of(
    spec: Spec, relative_to: Path, cache_dir: Path | None, hashes: dict[Path, str], layers: int | None = None
) -> Job:
    """Find and hash the sources of `spec`; `hashes` keeps what was hashed already.

    Raises SourceRefused and AdapterRefused.
    """
    parts, folders = [], []
    for name, weight, source in sorted(spec.members):
        folder = resolve(source, relative_to, cache_dir)
        if folder not in hashes:
            hashes[folder] = source_sha256(folder)
        parts.append(Part(name, float(weight), source, hashes[folder]))
        folders.append(str(folder))
    method = spec.method if len(parts) > 1 else "exact"  # one adapter alone is rewritten, nothing is merged
    served = served_name(parts, spec.base, method, layers)
    return Job(served, tuple(parts), tuple(folders), spec.base, method, layers)
