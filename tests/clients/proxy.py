"""A real LiteLLM proxy as a process of its own.

Started through uvicorn, not through the command `litellm`, which insists on uvloop: in this environment that would
change the loop under every other server, too. The application, its configuration and its hooks are the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai

from bench.ports import free_port

KEY = "sk-" + "4" * 64  # the proxy refuses to start with a weak one
START_SECONDS = 180  # ten on a quiet machine


@dataclass(frozen=True)
class Proxy:
    """A live proxy: where it is, and what it logs."""

    url: str
    log: Path

    def client(self) -> openai.OpenAI:
        """Return an OpenAI client of it that tries nothing twice."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0, timeout=120)

    def chat(self, model: str, *said: str | dict[str, Any], **more: Any) -> httpx.Response:
        """Send these messages; plain text is the user's."""
        messages = [{"role": "user", "content": each} if isinstance(each, str) else each for each in said]
        body = {"model": model, "messages": messages, "max_tokens": 12, "temperature": 0, **more}
        return self.post("/v1/chat/completions", body)

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Send this body."""
        return httpx.post(f"{self.url}{path}", json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=120)


@contextmanager
def proxying(config: Path, agoge: str, engine: str, log: Path) -> Iterator[Proxy]:
    """Run a proxy on `config` until the end of the block. `agoge` and `engine` are base URLs that end in /v1."""
    port = free_port()
    live = Proxy(f"http://127.0.0.1:{port}", log)
    environment = {
        **os.environ,
        "CONFIG_FILE_PATH": str(config),
        "LITELLM_MASTER_KEY": KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no look at the network
        "AGOGE_API_BASE": agoge,
        "AGOGE_API_KEY": "none",
        "VLLM_API_BASE": engine,
    }
    command = [sys.executable, "-m", "uvicorn", "litellm.proxy.proxy_server:app", "--loop", "asyncio"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=log.parent, stdout=sink, stderr=sink, env=environment)
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            try:
                if httpx.get(f"{live.url}/health/liveliness", timeout=2).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        yield live
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
