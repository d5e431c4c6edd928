"""requirements/: exact versions with hashes, all that pyproject.toml asks for, on every platform we promise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.deploy.compose_file import ROOT
from tests.deploy.lock_file import FOLDER, PROJECT, asked, lock, read, unmet

LOCKS = ["build", "serve", "test", "weights", "weights-test"]
SERVED = ("embedded", "slack", "otel")
TESTED = ("embedded", "encoders", "train", "litellm", "slack", "otel", "report", "dev")
PLACES = [("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64"), ("darwin", "Darwin", "arm64")]
ENVIRONMENTS = [
    {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": system,
        "platform_version": "",
        "python_full_version": f"{python}.9",
        "python_version": python,
        "sys_platform": platform,
    }
    for python in ("3.11", "3.12", "3.13")
    for platform, system, machine in PLACES
]
GOOD = f"left==1.0 \\\n    --hash=sha256:{'0' * 64}\n"


@pytest.mark.parametrize("name", LOCKS)
def test_everything_has_one_version_and_hashes(name: str) -> None:
    locked = lock(name)
    assert locked
    for package, each in locked.items():
        assert each.hashes, package
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in each.hashes), package


@pytest.mark.parametrize("line", ["right>=1", "-e .", "--index-url=file:///mirror", "right @ file:///right.whl"])
def test_the_reader_refuses_what_is_no_exact_version(line: str, tmp_path: Path) -> None:
    file = tmp_path / "lock.txt"
    file.write_text(GOOD)
    assert read(file)
    file.write_text(f"{GOOD}{line}\n")
    with pytest.raises(ValueError, match="is no exact version"):
        read(file)


@pytest.mark.parametrize("name", LOCKS)
def test_no_file_says_where_a_package_comes_from(name: str) -> None:
    assert "//" not in (FOLDER / f"{name}.txt").read_text("utf-8")


@pytest.mark.parametrize(
    "environment", ENVIRONMENTS, ids=lambda each: f"{each['python_version']}-{each['platform_machine']}"
)
def test_what_the_project_asks_for_is_locked_with_all_that_it_needs(environment: dict[str, str]) -> None:
    build = [Requirement(text) for text in PROJECT["build-system"]["requires"]]
    assert list(unmet([*asked(SERVED)], lock("serve"), environment)) == []
    assert list(unmet([*asked(TESTED, ("build", "supply"))], lock("test"), environment)) == []
    assert (
        list(unmet([*build, *map(Requirement, PROJECT["dependency-groups"]["build"])], lock("build"), environment))
        == []
    )


@pytest.mark.parametrize(
    ("asks", "says"),
    [
        ("nowhere>=1", "nowhere>=1 is not locked"),
        ("numpy>=99", "numpy>=99, but "),
        ("uvicorn[standard]", "is not locked"),  # an extra's needs
        ("torchvision", "torchvision is not locked"),
    ],
)
def test_the_check_finds_what_is_not_locked(asks: str, says: str) -> None:
    found = list(unmet([Requirement(asks)], lock("serve"), ENVIRONMENTS[0]))
    assert found
    assert all(says in each for each in found)


def test_what_is_tested_is_what_is_served() -> None:
    tested = lock("test")
    for name in ("build", "serve"):
        for package, each in lock(name).items():
            assert (tested[package].version, tested[package].hashes) == (each.version, each.hashes), package


def test_no_torch_is_served_and_its_one_pin_is_its_own() -> None:
    assert "torch" not in {**lock("serve"), **lock("test")}
    (torch,) = read(FOLDER / "torch.txt").values()
    (asks,) = [each for each in asked(["train"]) if each.name == "torch"]
    assert asks.specifier.contains(torch.version)
    assert torch.hashes == ()


@pytest.mark.parametrize("name", ["weights", "weights-test"])
def test_weights_are_locked_at_the_version_that_is_described(name: str) -> None:
    described: dict[str, Any] = {}
    for line in (FOLDER / f"{name}.in").read_text("utf-8").splitlines():
        if line[0] != "#":
            package, _, version = line.split()[0].partition("==")
            described[package] = version
    assert {package: str(each.version) for package, each in lock(name).items()} == described


def test_make_installs_nothing_but_torch_and_ourselves_without_hashes() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(r"^LOCKED := \$\(PIP\) .*--require-hashes$", makefile, re.MULTILINE)
    loose = [line.strip() for line in makefile.splitlines() if "$(PIP)" in line and not line.startswith("LOCKED")]
    assert [line.rpartition(" ")[2] for line in loose] == [".", "requirements/torch.txt"]
