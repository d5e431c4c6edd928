"""The node package: n8n's own lint, its unit tests, what npm would publish, and its nodes in a real n8n."""

from __future__ import annotations

import copy
import tarfile
from pathlib import Path

from tests.live import Agoge
from tests.n8n.conftest import shipped
from tests.n8n.n8n_process import N8n


def test_n8n_finds_nothing_wrong_with_it(package: Path, fresh: N8n) -> None:
    fresh.node("npm", "run", "lint", cwd=package)
    fresh.node("npx", "--no-install", "prettier", "--check", "credentials", "nodes", "test", cwd=package)


def test_its_own_tests_pass(tarball: Path, fresh: N8n) -> None:
    said = fresh.node("npm", "test", cwd=tarball.parent)
    assert "fail 0" in said
    assert "pass 0" not in said


def test_what_is_published_is_built_code_alone(tarball: Path) -> None:
    with tarfile.open(tarball) as packed:
        names = {name.removeprefix("package/") for name in packed.getnames()}
    assert {name for name in names if not name.startswith("dist/")} == {"LICENSE", "README.md", "package.json"}
    assert {name.rpartition(".")[2] for name in names if name.startswith("dist/")} == {"js", "ts", "json", "svg"}
    assert "dist/icons/agoge.svg" in names


def test_its_nodes_ask_decide_and_carry_a_chain(n8n: N8n, router: Agoge) -> None:
    run = n8n.execute("agogeNodes")
    (decided,) = run.items("Decide")
    assert decided["label"] == "physics"
    assert decided["adapters"] == {"core": 1, "physics": 0.8}
    (asked,) = run.items("Ask")
    assert asked["adapters"] == {"academic": 1}
    assert asked["alone"] is True
    assert asked["text"].strip()
    (said,) = run.items("Chain")
    assert said["text"].endswith("Endure and act.")
    blends = [fact["adapters"] for fact in router.facts("Decided")[-3:]]
    assert blends == [{"core": 1.0, "physics": 0.8}, {"academic": 1.0}, {"core": 1.0, "physics": 0.8}]


def test_what_is_wrong_is_said_in_the_words_of_agoge(n8n: N8n, router: Agoge) -> None:
    workflow = copy.deepcopy(shipped(router.url)["agogeNodes"])
    workflow["id"], workflow["name"] = "agogeNodesWrong", "wrong"
    nodes = {node["name"]: node for node in workflow["nodes"]}
    nodes["Ask"]["parameters"]["expert"] = "алхимия"
    nodes["Decide"]["parameters"]["options"] = {"history": "{}"}
    nodes["Ask"]["onError"] = nodes["Decide"]["onError"] = "continueRegularOutput"
    n8n.take_in("workflow", [workflow])
    run = n8n.execute("agogeNodesWrong")
    (asked,) = run.items("Ask")
    assert "алхимия" in asked["error"]
    assert "физика" in asked["error"], "the names that there are"
    (decided,) = run.items("Decide")
    assert decided["error"].startswith("Earlier messages must be a JSON list")
