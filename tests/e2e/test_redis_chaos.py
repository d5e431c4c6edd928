"""Redis is killed and started again under load: no request fails, and every answer says the same."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.ports import free_port
from router.caches.redis import RedisCache
from router.core.facts import CacheFailed
from tests.caches.servers import Server, binaries
from tests.stage import staged

TEXTS = ["why is the sky blue", "режим: физика\nрасскажи", "marathon", "hello", "режим: академический\nэссе"]


@pytest.fixture(params=sorted(binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="agoge-") as folder:  # a unix socket's path must be short
        made = Server(binaries()[request.param], Path(folder), port=free_port())
        made.start()
        yield made
        made.kill()


async def test_killed_and_restarted_under_load(tmp_path: Path, server: Server) -> None:
    cache = RedisCache(server.tcp_url, timeout=0.5, pause=0.05)
    async with staged(tmp_path, cache=cache) as stage, httpx.AsyncClient(base_url=stage.url, timeout=60) as client:
        answers: list[tuple[str, httpx.Response]] = []
        stop = asyncio.Event()

        async def load(worker: int) -> None:
            turn = worker
            while not stop.is_set():
                turn += 1
                text, stream = TEXTS[turn % len(TEXTS)], turn % 2 == 0
                messages = [{"role": "user", "content": text}]
                answers.append(
                    (
                        text,
                        await client.post("/v1/chat/completions", json={"messages": messages, "stream": stream}),
                    )
                )

        def hits() -> int:
            return sum(answer.headers.get("x-agoge-cache") == "hit" for _, answer in answers)

        async def until_more(seconds: float = 60.0) -> None:
            """Wait for 20 more answers, and for hits among them."""
            count, hit = len(answers), hits()
            async with asyncio.timeout(seconds):
                while len(answers) < count + 20 or hits() == hit:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.02)

        workers = [asyncio.create_task(load(number)) for number in range(6)]
        try:
            await until_more()
            await asyncio.to_thread(server.kill)
            failures, count = len(stage.facts.of(CacheFailed)), len(answers)
            async with asyncio.timeout(60):
                while len(answers) < count + 30 or len(stage.facts.of(CacheFailed)) == failures:  # noqa: ASYNC110 - likewise
                    await asyncio.sleep(0.02)
            await asyncio.to_thread(server.start)
            await until_more()
        finally:
            stop.set()
            await asyncio.gather(*workers)

        assert {answer.status_code for _, answer in answers} == {200}
        said: dict[str, set[str]] = {}
        for text, answer in answers:
            said.setdefault(text, set()).add(_decision(answer))
            if answer.headers["content-type"].startswith("text/event-stream"):
                assert answer.text.endswith("data: [DONE]\n\n")
                assert '"error"' not in answer.text
        assert {text: len(decisions) for text, decisions in said.items()} == dict.fromkeys(TEXTS, 1)
        metrics = (await client.get("/metrics")).text
        counted = [line for line in metrics.splitlines() if line.startswith("agoge_cache_failures_total")]
        assert sum(float(line.rpartition(" ")[2]) for line in counted) == len(stage.facts.of(CacheFailed)) > 0
        assert all(backend.open_streams == 0 for backend in stage.backends.values())
    await cache.aclose()


def _decision(answer: httpx.Response) -> str:
    """Return what must not depend on the cache, from the headers: they are the same in both forms."""
    names = ("x-agoge-adapters", "x-agoge-blend", "x-agoge-label", "x-agoge-backend")
    return " ".join(answer.headers[name] for name in names)


async def test_cached_and_uncached_decisions_are_the_same_json(tmp_path: Path, server: Server) -> None:
    cache = RedisCache(server.tcp_url, timeout=5)
    async with staged(tmp_path, cache=cache) as stage, httpx.AsyncClient(base_url=stage.url, timeout=60) as client:
        for text in TEXTS:
            told: list[dict[str, Any]] = []
            for cached in ("miss", "hit"):
                answer = (await client.post("/v1/decisions", json={"input": text})).json()
                assert answer.pop("cache") == cached
                answer.pop("decision_id")
                told.append(answer)
                async with asyncio.timeout(10):
                    while stage.router._storing:  # noqa: ASYNC110 - written behind the answer's back
                        await asyncio.sleep(0.01)
            assert told[0] == told[1]
    await cache.aclose()


async def test_foreign_bytes_under_our_key_are_a_miss(tmp_path: Path, server: Server) -> None:
    import redis

    cache = RedisCache(server.tcp_url, timeout=5)
    async with staged(tmp_path, cache=cache) as stage, httpx.AsyncClient(base_url=stage.url, timeout=60) as client:
        body = {"messages": [{"role": "user", "content": "режим: академический\nэссе"}]}
        assert (await client.post("/v1/chat/completions", json=body)).json()["agoge"]["adapters"] == {
            "academic": 1.0
        }
        plain = redis.Redis(unix_socket_path=str(server.socket))
        async with asyncio.timeout(10):
            while not plain.keys():  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
        (key,) = plain.keys()
        kept = plain.get(key)
        assert isinstance(kept, bytes)
        forged = kept.replace(b'["academic",1.0]', b'["core",1.0]')
        assert forged != kept
        for wrong in (forged, b"", b"{}", b"\xff", b"[" * 60000, kept[:-1]):
            plain.set(key, wrong)
            again = (await client.post("/v1/chat/completions", json=body)).json()["agoge"]
            assert (again["adapters"], again["cache"]) == ({"academic": 1.0}, "miss")
            async with asyncio.timeout(10):
                while stage.router._storing:  # noqa: ASYNC110 - likewise
                    await asyncio.sleep(0.01)
        plain.close()
        assert len(stage.facts.of(CacheFailed)) == 6
    await cache.aclose()
