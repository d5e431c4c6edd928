"""A stand-in for the module xllamacpp: it says what the test tells it to, at the moments the test chooses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

Chunk = Mapping[str, Any]
Step = Chunk | float | Exception


def piece(text: str) -> Chunk:
    """Return a chunk with a piece of the answer, as llama.cpp writes it."""
    return {"choices": [{"finish_reason": None, "index": 0, "delta": {"content": text}}]}


FINISH: Chunk = {"choices": [{"finish_reason": "stop", "index": 0, "delta": {}}]}
USAGE: Chunk = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}
ROLE: Chunk = {"choices": [{"finish_reason": None, "index": 0, "delta": {"role": "assistant", "content": None}}]}


class FakeServer:
    """Runs `script` for each request: chunks are passed on, floats are seconds of sleep, exceptions are raised."""

    def __init__(self, params: Any) -> None:
        self.params = params
        self.script: Sequence[Step] = [ROLE, piece("Hi"), FINISH, USAGE]
        self.gate = threading.Event()  # requests wait here while it is not set
        self.gate.set()
        self.requests: list[Mapping[str, Any]] = []
        self.given_up = 0

    def handle_chat_completions(self, request: Mapping[str, Any], callback: Callable[[Chunk], bool]) -> None:
        self.requests.append(request)
        while not self.gate.wait(0.005):
            if callback(ROLE):
                self.given_up += 1
                return
        for step in self.script:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, float):
                time.sleep(step)
            elif callback(step):
                self.given_up += 1
                return

    def handle_completions(self, request: Mapping[str, Any], callback: Callable[[Chunk], bool]) -> None:
        """Another route of the same engine: the script, the gate and the record are the same."""
        self.handle_chat_completions(request, callback)


class FakeModule(ModuleType):
    """`sys.modules["xllamacpp"] = FakeModule()`; `server` is the last one made."""

    server: FakeServer

    def __init__(self) -> None:
        super().__init__("xllamacpp")

    def CommonParams(self) -> Any:  # noqa: N802 - the vendor's name
        return SimpleNamespace(
            model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace()
        )

    def CommonAdapterLoraInfo(self, path: str, scale: float) -> tuple[str, float]:  # noqa: N802 - the vendor's name
        return path, scale

    def Server(self, params: Any) -> FakeServer:  # noqa: N802 - the vendor's name
        self.server = FakeServer(params)
        return self.server
