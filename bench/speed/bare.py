"""The floor: only what a routed request cannot do without. `python -m bench.speed.bare ARTEFACT ENGINE REDIS`.

One embedding, one HTTP call to the engine, one Redis GET, with the libraries that the router uses and none of the
router. Decides nothing, checks nothing, serves nobody.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice, repeat
from pathlib import Path

import aiohttp

from bench.speed.beside import Answer, answering
from classifiers import Classifier
from router.redis_pool import redis_at


class Bare:
    """Holds the three libraries in one loop."""

    def __init__(self, artefact: Path, engine: str, cache: str) -> None:
        self._encoder = Classifier.load(artefact).encoder
        self._engine = f"{engine}/v1/chat/completions"
        self._redis = redis_at(cache, connections=16, patience=1, connect=1)
        self._runner = asyncio.Runner(loop_factory=_loop())

    def answer(self, texts: list[str], count: int, embed: bool, in_flight: int) -> Answer:
        """Ask `count` times, `texts` in turn; return the CPU milliseconds of each, and of its parts."""
        return self._runner.run(self._answer(texts, count, embed, in_flight))

    async def _answer(self, texts: list[str], count: int, embed: bool, in_flight: int) -> Answer:
        asked = list(islice(iter(texts) if len(texts) > 1 else repeat(texts[0]), count))
        cpu = time.process_time()
        if embed:
            for text in asked:
                self._encoder.encode([text])
        embedding = time.process_time() - cpu
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            waiting = iter(asked)
            cpu = time.process_time()
            await asyncio.gather(*(self._call(session, waiting) for _ in range(in_flight)))
            calling = time.process_time() - cpu
        waiting = iter(asked)
        cpu = time.process_time()
        await asyncio.gather(*(self._look(waiting) for _ in range(in_flight)))
        looking = time.process_time() - cpu
        return {
            "floor_ms": (embedding + calling + looking) * 1e3 / count,
            "embedding_ms": embedding * 1e3 / count,
            "calling_ms": calling * 1e3 / count,
            "redis_ms": looking * 1e3 / count,
        }

    async def _call(self, session: aiohttp.ClientSession, texts: Iterator[str]) -> None:
        for text in texts:
            body = {"model": "core", "messages": [{"role": "user", "content": text}], "stream": True}
            async with session.post(self._engine, json=body) as response:
                await response.read()

    async def _look(self, texts: Iterator[str]) -> None:
        for text in texts:
            await self._redis.get(f"agoge:bare:{hash(text):x}")


def _loop() -> type[asyncio.AbstractEventLoop] | None:
    """The loop that the router has: uvloop's where it is installed."""
    if find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.Loop


if __name__ == "__main__":
    bare = Bare(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
    answering(bare.answer)
