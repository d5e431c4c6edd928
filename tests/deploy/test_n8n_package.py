"""The n8n node package without node: what n8n asks of community packages, as far as files can say it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "deploy" / "n8n" / "n8n-nodes-agoge"
WORKFLOWS = PACKAGE.parent / "workflows"
SAID: dict[str, Any] = json.loads((PACKAGE / "package.json").read_text("utf-8"))


def sources(kind: str) -> list[Path]:
    """Return the TypeScript files that the built ones in package.json's n8n section come from."""
    return [PACKAGE / f"{built.removeprefix('dist/').removesuffix('.js')}.ts" for built in SAID["n8n"][kind]]


def test_it_is_a_community_package() -> None:
    assert re.fullmatch(r"n8n-nodes-[a-z-]+", SAID["name"])
    assert "n8n-community-node-package" in SAID["keywords"]
    assert SAID["n8n"]["n8nNodesApiVersion"] == 1
    assert SAID["license"] == "MIT"
    assert (PACKAGE / "LICENSE").read_text("utf-8").startswith("MIT License")
    assert SAID["files"] == ["dist"]


def test_it_brings_no_code_but_its_own() -> None:
    assert not {"dependencies", "bundledDependencies", "optionalDependencies"} & SAID.keys()
    assert SAID["peerDependencies"].keys() == {"n8n-workflow", "@n8n/ai-node-sdk"}
    assert not {"preinstall", "install", "postinstall", "prepare"} & SAID["scripts"].keys()
    allowed = (*SAID["peerDependencies"], "./", "../")
    for file in PACKAGE.glob("*/**/*.ts"):
        if "node_modules" not in file.parts and "dist" not in file.parts:
            for imported in re.findall(r"from '([^']+)'", file.read_text("utf-8")):
                assert imported.startswith(allowed), f"{file.name}: {imported}"


def test_what_builds_it_is_pinned() -> None:
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in SAID["devDependencies"].values())
    locked = json.loads((PACKAGE / "package-lock.json").read_text("utf-8"))["packages"]
    for name, version in SAID["devDependencies"].items():
        assert locked[f"node_modules/{name}"]["version"] == version
    assert locked[""]["devDependencies"] == SAID["devDependencies"]


@pytest.mark.parametrize("kind", ["credentials", "nodes"])
def test_the_n8n_section_names_what_is_there(kind: str) -> None:
    files = sources(kind)
    assert files
    assert set(files) == set(PACKAGE.glob(f"{kind}/**/*.{'node' if kind == 'nodes' else 'credentials'}.ts"))


def test_icons_are_there_and_are_svg() -> None:
    for file in (*sources("nodes"), *sources("credentials")):
        icons = re.findall(r"file:([^']+\.svg)", file.read_text("utf-8"))
        assert len(icons) == 2, f"{file.name}: one for light, one for dark"
        for icon in icons:
            assert ElementTree.parse(file.parent / icon).getroot().tag.endswith("svg")  # noqa: S314 - our own file


def test_the_workflows_use_node_types_that_it_has() -> None:
    names = {re.search(r"\tname: '(\w+)'", file.read_text("utf-8"))[1] for file in sources("nodes")}  # type: ignore[index]
    used = set()
    for file in WORKFLOWS.glob("*.json"):
        for node in json.loads(file.read_text("utf-8"))["nodes"]:
            package, _, name = node["type"].rpartition(".")
            if package == SAID["name"]:
                used.add(name)
    assert used == names


def test_the_codex_names_the_node_and_its_version() -> None:
    for file in sources("nodes"):
        codex = json.loads(file.with_suffix(".json").read_text("utf-8"))
        (name,) = re.findall(r"^\t\tname: '(\w+)'", file.read_text("utf-8"), re.MULTILINE)
        assert codex["node"] == f"{SAID['name']}.{name}"
