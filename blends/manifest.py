"""What has been built: `blends.json` beside the folders that it names. Knows no policy, engine or arithmetic.

The file is replaced in one step, so that whoever reads it sees the last good build, whole, or none.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

FILE = "blends.json"
VERSION = 1
"""Of the file's form. A file of another version is refused: it was written by another Agoge."""

_SERVED = re.compile(r"[a-z0-9][a-z0-9_+-]*-[0-9a-f]{12}")


class ManifestMissing(FileNotFoundError):
    """Nothing has been built there yet; the message says how to build it."""


class ManifestInvalid(ValueError):
    """`blends.json` is damaged or of another version; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Part:
    """One member of a blend: its name in the policy, its weight, where it came from, and its files' SHA-256."""

    name: str
    weight: float
    source: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One built blend.

    `blend` is the policy's id; `served` is the name that engines know it by, and the name of its folder beside the
    manifest: a retrained adapter gives another `served`, the `blend` stays. `error` is the measured relative error
    against the weighted sum; `rank` was padded to `bucket`. `bytes` is the size on disk, `memory_bytes` what an
    engine that computes in bf16 holds for it; `sha256` is that of the folder. `conflict` is the figure that the
    policy's gate was held against, None where it has no gate.
    """

    blend: str
    served: str
    members: tuple[Part, ...]
    base: str
    alone: bool
    method: str
    error: float
    rank: int
    bucket: int
    modules: tuple[str, ...]
    layers: int
    bytes: int
    memory_bytes: int
    sha256: str
    conflict: float | None = None

    @property
    def folder(self) -> str:
        """The folder's name beside the manifest."""
        return self.served


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that was built, sorted by blend. `sources` is the folder that relative sources start from.

    It is written relative to the manifest, so that a tree may be moved as a whole.
    """

    entries: tuple[Entry, ...]
    sources: str = "."

    @property
    def bases(self) -> tuple[str, ...]:
        """The base models, sorted."""
        return tuple(sorted({entry.base for entry in self.entries}))

    @property
    def published(self) -> dict[str, str]:
        """The policy's blend id -> the name that engines serve it under."""
        return {entry.blend: entry.served for entry in self.entries}


def read_manifest(folder: Path) -> Manifest:
    """Read `blends.json` in `folder`. Raises ManifestMissing or ManifestInvalid."""
    path = folder / FILE
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ManifestMissing(
            f"{path} is not there; build the policy's blends first: agoge blends build"
        ) from None
    except (OSError, ValueError, RecursionError) as fault:
        raise ManifestInvalid(f"{path} cannot be read ({fault}); build it again: agoge blends build") from fault
    if not isinstance(content, dict) or content.get("version") != VERSION:
        found = content.get("version") if isinstance(content, dict) else None
        raise ManifestInvalid(
            f"{path} is of version {found!r}, this Agoge reads {VERSION}; build it again: agoge blends build"
        )
    try:
        entries = tuple(_entry(entry, f"blends[{at}]") for at, entry in enumerate(_list(content, "blends")))
        manifest = Manifest(entries, _text(content, "sources", "the file"))
        if len(manifest.published) != len(entries):
            raise ValueError("a blend is listed twice")
    except ValueError as fault:
        raise ManifestInvalid(f"{path} is damaged: {fault}; build it again: agoge blends build") from fault
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace `blends.json` in `folder` in one step; on return it is on the disk."""
    entries = sorted(manifest.entries, key=lambda entry: entry.blend)
    content = {"version": VERSION, "sources": manifest.sources, "blends": [as_data(entry) for entry in entries]}
    replace_file(folder / FILE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def as_data(entry: Entry) -> dict[str, Any]:
    """Return an entry as it stands in the file."""
    return asdict(entry)


def replace_file(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader, or a crash, sees the old file or the new one."""
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".scratch-{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), 0o644)  # mkstemp makes it private; an engine's user reads it too
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _entry(data: Any, where: str) -> Entry:
    given = dict(_typed(Entry, data, where))
    parts = [
        Part(**dict(_typed(Part, part, f"{where}.members[{at}]"))) for at, part in enumerate(given["members"])
    ]
    modules = given["modules"]
    if not parts or not all(isinstance(module, str) for module in modules):
        raise ValueError(f"{where} needs members, and modules that are texts")
    if not _SERVED.fullmatch(given["served"]):
        raise ValueError(f"{where}.served is {given['served']!r}; it is adapter names and 12 hex digits")
    return Entry(**{**given, "members": tuple(parts), "modules": tuple(modules)})


_KINDS: Mapping[str, tuple[type, ...]] = {
    "str": (str,), "float": (float, int), "int": (int,), "bool": (bool,),
    "tuple[Part, ...]": (list,), "tuple[str, ...]": (list,), "float | None": (float, int, type(None)),
}  # fmt: skip


def _typed(model: type, data: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Yield (field, value) for a dataclass; ValueError for what is missing, unknown or of another type."""
    if not isinstance(data, dict):
        raise ValueError(f"{where} is no mapping")
    known = {field.name: str(field.type) for field in fields(model)}
    if strange := sorted(data.keys() - known.keys()):
        raise ValueError(f"{where} has an unknown key {strange[0]!r}")
    for name, kind in known.items():
        value = data.get(name)
        if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind != "bool"):
            raise ValueError(f"{where}.{name} is {value!r}; a {kind} stands there")
        yield name, value


def _list(content: Mapping[str, Any], name: str) -> list[Any]:
    value = content.get(name)
    if not isinstance(value, list):
        raise ValueError(f"{name} is no list")
    return value


def _text(content: Mapping[str, Any], name: str, where: str) -> str:
    value = content.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} of {where} is no text")
    return value
