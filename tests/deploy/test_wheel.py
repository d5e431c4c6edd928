"""What a wheel carries: all that an installed Agoge reads, as built by the build back end itself."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from tests.deploy.compose_file import ROOT

PACKAGES = ("blends", "classifiers", "router")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """The names of the files in the wheel."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        return frozenset(opened.namelist())


def written(folder: str) -> set[str]:
    """Return the paths of what lies in a folder of the checkout, compiled code apart."""
    found = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in found}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_of_a_package_is_in_it(package: str, names: frozenset[str]) -> None:
    assert written(package) <= names


def test_the_templates_of_adapters_are_among_them(names: frozenset[str]) -> None:
    folders = {PurePosixPath(name).parent.name for name in names if name.startswith("blends/templates/")}
    assert folders == {"core", "domain", "isolated"}
    assert any(name.endswith("domain/README.ru.md") for name in names)


def test_policies_lie_in_its_share(names: frozenset[str]) -> None:
    shared = {name.partition("/data/share/agoge/")[2] for name in names}
    assert {name for name in written("policies") if Path(name).suffix in {".yaml", ".safetensors"}} <= shared


def test_nothing_else_is_installed(names: frozenset[str]) -> None:
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.startswith("agoge_router-")} == set(PACKAGES)
