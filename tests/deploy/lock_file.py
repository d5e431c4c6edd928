"""The lock files as pip reads them, and what pyproject.toml asks for. Knows no index: all of it is offline."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version
from pip_requirements_parser import RequirementsFile

from tests.deploy.compose_file import ROOT

FOLDER = ROOT / "requirements"
PROJECT: Mapping[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
# torch.txt says why it is not locked. pip installs the lock; pip-audit, which asks for it, is told to use none.
UNLOCKED = frozenset({"torch", "pip"})

Environment = Mapping[str, str]


@dataclass(frozen=True)
class Locked:
    """One line of a lock file, and whether what it pins is installed where the tests run."""

    version: Version
    hashes: tuple[str, ...]
    marker: Marker | None

    def applies(self, environment: Environment) -> bool:
        """Say whether it is installed there."""
        return self.marker is None or self.marker.evaluate({**environment})


Lock = Mapping[NormalizedName, Locked]


def read(file: Path) -> Lock:
    """Return a lock file, read. Raises ValueError for anything in it but exact versions."""
    found = RequirementsFile.from_file(str(file))
    strange = [*found.options, *found.invalid_lines, *(each for each in found.requirements if not each.is_pinned)]
    if strange:
        raise ValueError(f"{file.name}: {strange[0].dumps()!r} is no exact version")
    return {
        canonicalize_name(each.name): Locked(
            Version(each.get_pinned_version), tuple(each.hash_options), each.marker and Marker(str(each.marker))
        )
        for each in found.requirements
    }


def lock(name: str) -> Lock:
    """Return requirements/`name`.txt."""
    return read(FOLDER / f"{name}.txt")


def asked(extras: Iterable[str], groups: Iterable[str] = ()) -> list[Requirement]:
    """Return what the project requires with these extras and dependency groups."""
    project, written = PROJECT["project"], []
    written += project["dependencies"]
    for extra in extras:
        written += project["optional-dependencies"][extra]
    for group in groups:
        written += PROJECT["dependency-groups"][group]
    return [Requirement(text) for text in written]


def unmet(wanted: Iterable[Requirement], given: Lock, environment: Environment) -> Iterator[str]:
    """Yield whatever the requirements need there, directly or not, and the lock does not give them."""
    here = default_environment()
    waiting, seen = [(each, "") for each in wanted], set()
    while waiting:
        each, extra = waiting.pop()
        name = canonicalize_name(each.name)
        if (name, key := str(each), extra) in seen or name in UNLOCKED:
            continue
        seen.add((name, key, extra))
        if each.marker is not None and not each.marker.evaluate({**environment, "extra": extra}):
            continue
        locked = given.get(name)
        if locked is None or not locked.applies(environment):
            yield f"{each} is not locked"
        elif not each.specifier.contains(locked.version, prereleases=True):
            yield f"{each}, but {locked.version} is locked"
        elif locked.applies({**here}):  # else it is not installed here, and says nothing of what it needs
            needs = [Requirement(text) for text in requires(name) or ()]
            waiting += [(need, more) for need in needs for more in ("", *each.extras)]
