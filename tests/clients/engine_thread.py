"""The fake vLLM on a loop of its own, so that tests which block can use it, and all of them the same one."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Any, Self

from tests.backends.fake_vllm import FakeVllm


class EngineThread:
    """`with EngineThread() as engine:` serves at `engine.url`. `fake` may be looked at and changed meanwhile."""

    def __init__(self) -> None:
        self.fake = FakeVllm()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.fake.__aenter__(), self._loop).result(30)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self.fake.__aexit__(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    @property
    def url(self) -> str:
        """Where it serves."""
        return self.fake.url

    def hold(self, *blends: str) -> None:
        """Hold exactly these blends from now on, with a clean record and no fault."""
        self.fake.adapters = {blend: f"/blends/{blend}" for blend in blends}
        self.fake.seen.clear()
        self.fake.fault = ""
