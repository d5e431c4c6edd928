"""A real Prometheus that scrapes a real Agoge, by the files that deploy/ ships.

These tests are marked `prometheus` and are no part of `make test`: they need Debian's package (see install.sh).
`make test-prometheus` runs them; PROMETHEUS=/folder takes a package that is unpacked there.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.ports import free_port
from tests.live import ROOT

HERE = Path(__file__).parent
SHIPPED = ROOT / "deploy" / "prometheus"
SHIPPED_RULES = "agoge.rules.yml"
SHIPPED_TARGET, SHIPPED_INTERVAL = '"127.0.0.1:8080"', "scrape_interval: 15s"
SECONDS = 60  # until it has started, or has scraped what it must; a busy machine takes its time


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder, and nothing else: the hook is given every test of the run."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.prometheus)
            item.add_marker(pytest.mark.timeout(900))  # the first one waits for the classifier to be trained


@dataclass(frozen=True)
class Prometheus:
    """Its HTTP API."""

    client: httpx.Client

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the `data` of an answer."""
        said = self.client.get(f"/api/v1/{path}", params=parameters).json()
        assert said["status"] == "success", (parameters, said)
        return said["data"]

    def value(self, expression: str) -> float | None:
        """Return what an expression with one result is now; None without any."""
        found = self.ask("query", query=expression)["result"]
        assert len(found) <= 1, (expression, found)
        return float(found[0]["value"][1]) if found else None

    def until(self, expression: str, right: Callable[[float | None], bool]) -> float | None:
        """Wait until its value is `right`; return it."""
        end = time.monotonic() + SECONDS
        while not right(value := self.value(expression)):
            assert time.monotonic() < end, f"{expression} is {value} after {SECONDS} s"
            time.sleep(0.5)
        return value


@pytest.fixture(scope="session")
def binaries() -> Path:
    """Where prometheus and promtool are."""
    folder = Path(os.environ.get("PROMETHEUS", ROOT / ".venv-prometheus")).absolute() / "usr" / "bin"
    assert (folder / "promtool").exists(), f"no promtool in {folder}: make test-prometheus"
    return folder


@contextmanager
def scraping(binaries: Path, folder: Path, agoge: str) -> Iterator[Prometheus]:
    """Run a Prometheus by the shipped files, pointed at `agoge`, that scrapes every second."""
    text = (SHIPPED / "prometheus.yml").read_text("utf-8")
    assert SHIPPED_TARGET in text
    assert SHIPPED_INTERVAL in text
    text = text.replace(SHIPPED_TARGET, f'"{agoge.removeprefix("http://")}"')
    text = text.replace(SHIPPED_INTERVAL, "scrape_interval: 1s").replace(
        SHIPPED_RULES, f"{SHIPPED}/{SHIPPED_RULES}"
    )
    (folder / "prometheus.yml").write_text(text, "utf-8")
    port = free_port()
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    listen = f"--web.listen-address=127.0.0.1:{port}"
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([binaries / "prometheus", *options, listen], stderr=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                end = time.monotonic() + SECONDS
                while not _ready(client):
                    assert process.poll() is None, (folder / "prometheus.log").read_text()
                    assert time.monotonic() < end, (folder / "prometheus.log").read_text()
                    time.sleep(0.2)
                yield Prometheus(client)
        finally:
            process.terminate()
            process.wait(SECONDS)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False
