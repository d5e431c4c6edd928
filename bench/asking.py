"""What the measurements of several servers share: modules as processes, waited for and asked. Measures nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

TOPICS = ["Why is the sky blue", "Как подготовиться к марафону", "explain recursion", "рецепт борща", "закон Ома"]


@contextmanager
def process(*command: str) -> Iterator[None]:
    """Run a Python module beside us and stop it afterwards."""
    child = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        child.terminate()
        child.wait(20)


async def ready(session: aiohttp.ClientSession, url: str) -> None:
    """Wait until `url` answers 200; TimeoutError after a minute and a half."""
    async with asyncio.timeout(90):
        while True:
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)


async def ask(session: aiohttp.ClientSession, url: str, model: str, text: str) -> float:
    """Return the seconds one whole streamed answer took. Raises RuntimeError for any other answer."""
    started = time.perf_counter()
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": True}
    async with session.post(url, json=body) as response:
        data = await response.read()
        if response.status != 200 or b"[DONE]" not in data:
            raise RuntimeError(f"{url}: {response.status} {data[:200]!r}")
    return time.perf_counter() - started
