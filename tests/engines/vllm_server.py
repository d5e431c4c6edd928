"""A real vLLM on the CPU as a process: start it, wait for it, ask it what the router cannot be asked, end it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from bench.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / ".venv-engines" / "bin" / "vllm"
START_SECONDS = 600  # 60 to 100 s on two free cores
LIMITS = "first_token=600&between_tokens=300"
"""For the router's address of it: its first answer takes 20 s, and two cores carry everything."""


class VllmServer:
    """One vLLM. `command` and `environment` are what `agoge blends publish` said; `base` is the model's folder.

    float32, so that answers can be compared; small, so that two of them fit beside each other. The last LoRA slot
    has to stay empty: on the CPU, vLLM 0.32 gives a base request that shares a batch with an adapter's request
    whatever adapter fills the last slot.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], base: Path, log: Path) -> None:
        assert PROGRAM.exists(), f"{PROGRAM} is not there: make test-engines sets it up"
        vllm, serve, model, *rest = command
        assert (vllm, serve) == ("vllm", "serve"), command
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        small = "--dtype float32 --max-model-len 2048 --max-num-seqs 4 --enforce-eager --host 127.0.0.1"
        self._command = [str(PROGRAM), serve, str(base), "--served-model-name", model, *small.split()]
        self._command += ["--port", str(self.port), *rest]
        self._environment = {
            **os.environ,
            **environment,
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "GOMP_SPINCOUNT": "0",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it and wait until it serves; return the seconds that took."""
        begun = time.monotonic()
        with self.log.open("ab") as sink:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=sink, stderr=sink, start_new_session=True
            )
        while True:
            assert self._process.poll() is None, self.log.read_text()[-4000:]
            assert time.monotonic() < begun + START_SECONDS, self.log.read_text()[-4000:]
            try:
                if httpx.get(f"{self.url}/health", timeout=2).status_code == 200:
                    return time.monotonic() - begun
            except httpx.TransportError:
                pass
            time.sleep(0.5)

    def kill(self) -> None:
        """End all of its processes at once, as a crash of the machine would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it as Ctrl-C does, and what is left of it after that by force."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def post(self, path: str, **body: Any) -> httpx.Response:
        """POST JSON, without the router."""
        return httpx.post(f"{self.url}{path}", json=body, timeout=600)

    def held(self) -> dict[str, str]:
        """Return adapter name -> its folder, as the engine tells it."""
        listed = httpx.get(f"{self.url}/v1/models", timeout=30).json()["data"]
        return {model["id"]: model["root"] for model in listed if model["parent"] is not None}

    def unload(self, name: str) -> None:
        """Take an adapter out of it."""
        assert self.post("/v1/unload_lora_adapter", lora_name=name).status_code == 200

    def load(self, name: str, folder: Path) -> None:
        """Load an adapter, right or wrong, as an operator's hand would."""
        assert self.post("/v1/load_lora_adapter", lora_name=name, lora_path=str(folder)).status_code == 200

    def asked(self, status: str = "") -> int:
        """Return how many chat requests have reached it: all, or those that ended with a `status` such as 2xx."""
        lines = httpx.get(f"{self.url}/metrics", timeout=30).text.splitlines()
        counts = [line for line in lines if line.startswith('http_requests_total{handler="/v1/chat/completions"')]
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in counts if f'status="{status}' in line)
