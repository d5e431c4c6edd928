"""A real llama.cpp server as a process of its own: `python -m tests.e2e.llama_server BASE PORT FILE ...`.

It is the server that the embedded engine runs in the router's process, here behind HTTP, as llama-server is.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from bench.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120


class LlamaServer:
    """One server with these adapter files, at these numbers, each at scale 0."""

    def __init__(self, base: Path, files: Sequence[Path], port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        words = [sys.executable, "-m", "tests.e2e.llama_server", str(base), str(self.port), *map(str, files)]
        self._process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + START_SECONDS
        while not self._healthy():
            assert self._process.poll() is None, f"it ended with {self._process.returncode}"
            assert time.monotonic() < end
            time.sleep(0.1)

    def _healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self._process.wait()


def main(base: str, port: str, *files: str) -> None:
    """Serve until killed."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.verbosity = -1
    parameters.model.path = base
    parameters.hostnames, parameters.port = ["127.0.0.1"], int(port)
    parameters.n_ctx, parameters.n_parallel = 4096, 2
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(file, 0.0) for file in files]
    server = xllamacpp.Server(parameters)
    assert server.listening_address
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
