"""`agoge serve` as a process, on a policy and built blends of the tests' own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai

from bench.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 300  # a cold start trains the classifier


def is_ready(said: dict[str, Any]) -> bool:
    """Say whether every blend is served."""
    return bool(said["status"] == "ready")


@dataclass(frozen=True)
class Agoge:
    """A live router: where it is, and what it logs."""

    url: str
    log: Path

    def client(self) -> openai.OpenAI:
        """Return an OpenAI client of it that tries nothing twice."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=900)

    def ready(self) -> dict[str, Any]:
        """Return what /readyz says."""
        said: dict[str, Any] = httpx.get(f"{self.url}/readyz", timeout=60).json()
        return said

    def say(self, model: str, prompt: str, **more: Any) -> httpx.Response:
        """Ask for the adapters `model`, greedily."""
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], "temperature": 0}
        return httpx.post(f"{self.url}/v1/chat/completions", json={"max_tokens": 80, **body, **more}, timeout=900)

    def until(
        self, what: str, seconds: float = 60, done: Callable[[dict[str, Any]], bool] = is_ready
    ) -> dict[str, Any]:
        """Wait until what /readyz says is `done`; return it."""
        end = time.monotonic() + seconds
        while True:
            said = self.ready()
            if done(said):
                return said
            assert time.monotonic() < end, f"waited {seconds:g} s for {what}: {said}"
            time.sleep(0.5)

    def facts(self, kind: str) -> list[dict[str, Any]]:
        """Return the facts of this kind that it has logged."""
        lines = [line for line in self.log.read_text("utf-8").splitlines() if line.startswith("{")]
        return [fact for fact in map(json.loads, lines) if fact.get("fact") == kind]


@contextmanager
def serving(policy: Path, data: Path, *options: str) -> Iterator[Agoge]:
    """Serve until the end of the block; it must end cleanly on Ctrl-C."""
    port = free_port()
    live = Agoge(f"http://127.0.0.1:{port}", data / f"serve-{port}.log")
    command = [sys.executable, "-m", "router.cli", "serve", "--policy", str(policy), "--port", str(port)]
    with live.log.open("wb") as sink:
        process = subprocess.Popen([*command, "--data", str(data), *options], cwd=ROOT, stderr=sink)
    try:
        end = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None, live.log.read_text()
            assert time.monotonic() < end, live.log.read_text()
            try:
                if httpx.get(f"{live.url}/healthz", timeout=2).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        yield live
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, -signal.SIGINT), live.log.read_text()
        assert "Traceback" not in live.log.read_text(), live.log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def own_policy(folder: Path) -> Path:
    """Write the shipped policy into `folder`, on a backend named `engine` instead of the embedded one."""
    text = (ROOT / "policies" / "default.yaml").read_text("utf-8")
    text = text.replace("from: ./", f"from: {ROOT / 'policies'}/").replace('["embedded:"]', "[engine]")
    assert "[engine]" in text
    path = folder / "policy.yaml"
    path.write_text(text, "utf-8")
    return path


def agoge(*words: str) -> subprocess.CompletedProcess[str]:
    """Run one command of ours to its end; its output is returned, whatever its exit code."""
    command = [sys.executable, "-m", "router.cli", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
