"""`make audit` against a service on this machine that speaks OSV's protocol: no answer is never a pass."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment

from bench.ports import free_port
from tests.deploy.compose_file import ROOT
from tests.deploy.lock_file import lock

SCRIPT = ROOT / "deploy" / "supply" / "audit.py"
HASH = f"--hash=sha256:{'0' * 64}"
# As OSV publishes GHSA-h5c8-rqwp-cp95 (https://google.github.io/osv.dev/post-v1-query, its OpenAPI schema).
KNOWN = {
    "id": "GHSA-h5c8-rqwp-cp95",
    "aliases": ["CVE-2024-22195"],
    "schema_version": "1.6.0",
    "summary": "Jinja vulnerable to HTML attribute injection",
    "affected": [
        {
            "package": {"name": "jinja2", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.1.3"}]}],
        }
    ],
}
Answer = tuple[int, bytes]


@contextmanager
def osv(answer: Callable[[str, str], Answer]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the URL of a service that answers by name and version, and what it was asked."""
    asked: list[tuple[str, str]] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert query["package"]["ecosystem"] == "PyPI"
            asked.append((query["package"]["name"], query["version"]))
            status, body = answer(*asked[-1])
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query", asked
        finally:
            server.shutdown()


def said(what: dict[str, Any]) -> Answer:
    return 200, json.dumps(what).encode()


def jinja_alone(name: str, version: str) -> Answer:
    return said({"vulns": [KNOWN]} if (name, version) == ("jinja2", "3.1.2") else {})


def audit(url: str, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, "--url", url, "--timeout", "20", *files]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


@pytest.fixture
def pinned(tmp_path: Path) -> Path:
    """A lock of two packages, one of them with a known vulnerability."""
    file = tmp_path / "pinned.txt"
    file.write_text(f"jinja2==3.1.2 {HASH}\nidna==3.20 {HASH}\n")
    return file


def test_every_locked_version_is_asked_about() -> None:
    with osv(lambda name, version: said({})) as (url, asked):
        done = audit(url)
    assert (done.returncode, done.stderr) == (0, "")
    here = {**default_environment()}
    served = {
        (name, str(each.version))
        for file in ("serve", "weights")
        for name, each in lock(file).items()
        if each.applies(here)
    }
    assert served <= {*asked}
    assert "torch" in dict(asked)
    assert f"{len(asked)} packages asked about, 0 known vulnerabilities" in done.stdout


def test_a_known_vulnerability_fails_and_is_named(pinned: Path) -> None:
    with osv(jinja_alone) as (url, asked):
        done = audit(url, pinned)
    assert done.returncode == 1
    assert "jinja2 3.1.2: CVE-2024-22195 (GHSA-h5c8-rqwp-cp95), mended in 3.1.3" in done.stdout
    assert "idna 3.20:" not in done.stdout
    assert sorted(asked) == [("idna", "3.20"), ("jinja2", "3.1.2")]


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"{}"),
        (404, b"not here"),
        (200, b"<html>welcome to the hotel's network</html>"),
        said({"error": "too many questions"}),
        said({"vulns": [{**KNOWN, "schema_version": "2.0.0"}]}),  # what it cannot read is not clean
        said({"vulns": [{key: value for key, value in KNOWN.items() if key != "affected"}]}),
    ],
    ids=["broken", "not-there", "a-portal", "no-answer", "a-later-schema", "half-an-entry"],
)
def test_no_usable_answer_is_no_pass(pinned: Path, answer: Answer) -> None:
    with osv(lambda name, version: answer) as (url, _):
        done = audit(url, pinned)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"audit: {url} did not answer, so nothing is known, good or bad" in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_there_is_no_pass(pinned: Path) -> None:
    done = audit(f"http://127.0.0.1:{free_port()}/v1/query", pinned)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Connection refused" in done.stderr
