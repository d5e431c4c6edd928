"""One real Agoge for all these tests: a process, the real encoder, the real LLM, the four real adapters."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 180  # a busy machine takes its time


@pytest.fixture(scope="session")
def agoge(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Iterator[str]:
    """The address of a live Agoge, `http://127.0.0.1:PORT`; it must end cleanly on Ctrl-C."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("log") / "stderr"
    with log.open("wb") as sink:
        command = [sys.executable, "-m", "router.cli", "serve", "--port", str(port)]
        command += ["--data", str(data)]
        process = subprocess.Popen(command, cwd=ROOT, stderr=sink)
        until = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            try:
                if httpx.get(f"{url}/readyz", timeout=2).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        yield url
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in (0, -signal.SIGINT), log.read_text()
        assert "Traceback" not in log.read_text(), log.read_text()
