"""One real n8n in front of one real Agoge, with everything that deploy/n8n ships put into it as its users do.

These tests are marked `n8n` and are no part of `make test`, whose run deselects the mark (see pyproject.toml): n8n
takes 3 GB and ten minutes to install. `make test-n8n` runs them; N8N=/folder takes an installation that is there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import ROOT, Agoge, serving
from tests.n8n.n8n_process import N8n

HERE = Path(__file__).parent
TEST_SECONDS = 1500  # the first test that needs n8n waits for its database to be made, and for Agoge
SHIPPED = ROOT / "deploy" / "n8n"
OURS = "http://127.0.0.1:8080"  # where the shipped workflows look for Agoge


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder, and nothing else: the hook is given every test of the run."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.n8n)
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


def shipped(url: str = OURS) -> dict[str, dict[str, Any]]:
    """Return the shipped workflows by their ids, pointed at an Agoge at `url`."""
    files = sorted((SHIPPED / "workflows").glob("*.json"))
    read = [json.loads(file.read_text("utf-8").replace(OURS, url)) for file in files]
    return {workflow["id"]: workflow for workflow in read}


@pytest.fixture(scope="session")
def prefix() -> Path:
    """Where node and n8n are."""
    folder = Path(os.environ.get("N8N", ROOT / ".venv-n8n")).absolute()
    assert (folder / "app" / "node_modules" / "n8n" / "bin" / "n8n").exists(), f"no n8n in {folder}: make test-n8n"
    return folder


@pytest.fixture(scope="session")
def fresh(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> N8n:
    """n8n on a user folder in which nothing is yet."""
    return N8n(prefix, tmp_path_factory.mktemp("n8n"))


@pytest.fixture(scope="session")
def package(prefix: Path, fresh: N8n) -> Path:
    """The node package's sources beside the packages that build it. Kept in the prefix between runs."""
    work = prefix / "pack"
    source = SHIPPED / "n8n-nodes-agoge"
    work.mkdir(exist_ok=True)
    for old in work.iterdir():
        if old.name not in ("node_modules", "installed.json"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    shutil.copytree(source, work, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules", "dist"))
    lock, installed = work / "package-lock.json", work / "installed.json"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        fresh.node("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=work)
        shutil.copy(lock, installed)
    return work


@pytest.fixture(scope="session")
def tarball(package: Path, fresh: N8n) -> Path:
    """The node package as npm would publish it."""
    fresh.node("npm", "run", "build", cwd=package)
    fresh.node("npm", "pack", "--ignore-scripts", cwd=package)
    (packed,) = package.glob("*.tgz")
    return packed


@pytest.fixture(scope="session")
def router(data: Path) -> Iterator[Agoge]:
    """Agoge with the embedded engine and the shipped policy."""
    with serving(ROOT / "policies" / "default.yaml", data) as live:
        live.until("the embedded engine")
        yield live


@pytest.fixture(scope="session")
def n8n(fresh: N8n, tarball: Path, router: Agoge) -> N8n:
    """n8n with the packed node package, the two credentials and every shipped workflow in it."""
    fresh.nodes.mkdir(parents=True)
    (fresh.nodes / "package.json").write_text('{"private": true}')
    fresh.node("npm", "install", "--ignore-scripts", "--legacy-peer-deps", str(tarball), cwd=fresh.nodes)
    credentials = [
        {"id": "openAiAgoge", "name": "Agoge", "type": "openAiApi", "data": key(router)},
        {"id": "agogeAgoge", "name": "Agoge", "type": "agogeApi", "data": key(router)},
    ]
    fresh.take_in("credentials", credentials)
    fresh.take_in("workflow", list(shipped(router.url).values()))
    return fresh


def key(router: Agoge) -> dict[str, str]:
    """Return what a credential of either kind holds."""
    return {"url": f"{router.url}/v1", "apiKey": "none"}
