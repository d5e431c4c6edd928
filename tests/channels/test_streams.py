"""Clients that leave, stall and crowd: every engine is freed, nothing piles up, no task is left behind."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import Request

from router.channels.wire import ClientGone, unless_gone
from router.core.errors import Stopping
from router.core.facts import Abandoned, BackendAnswered, RequestRefused
from router.core.reply import Delta, Event, Finish, Prompt
from tests.stage import Stage, staged
from tests.stubs import SpeakingBackend, until

CHUNK = 64 * 1024


class Endless(SpeakingBackend):
    """Speaks for ever, in pieces of 64 KB, as fast as it is read."""

    def __init__(self, pieces: int = 10**9, size: int = CHUNK, pause: float = 0.0) -> None:
        super().__init__()
        self.pieces, self.size, self.pause = pieces, size, pause
        self.said = 0

    async def stream(self, prompt: Prompt) -> AsyncIterator[Event]:
        self.open_streams += 1
        try:
            for _ in range(self.pieces):
                self.said += 1
                yield Delta("x" * self.size)
                await asyncio.sleep(self.pause)
            yield Finish("stop")
        finally:
            self.open_streams -= 1


def request(
    stage: Stage, *, stream: bool = True, content: str = "sky", path: str = "/v1/chat/completions"
) -> bytes:
    body = json.dumps({"messages": [{"role": "user", "content": content}], "stream": stream}).encode()
    host = stage.url.removeprefix("http://")
    head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def connect(stage: Stage) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = stage.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


def tasks() -> set[asyncio.Task[object]]:
    return {task for task in asyncio.all_tasks() if not task.done()}


async def test_a_client_that_does_not_read_holds_the_engine_back(tmp_path: Path) -> None:
    engine = Endless()
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        before = tasks()
        _, writer = await connect(stage)
        writer.write(request(stage))
        await until(lambda: engine.said > 0)
        said = -1
        async with asyncio.timeout(30):
            while said != engine.said:  # until it stands still
                said = engine.said
                await asyncio.sleep(0.3)
        assert said * CHUNK < 32 * 2**20  # the kernel's socket buffers and one high-water mark, not a stream
        writer.transport.abort()
        await until(lambda: engine.open_streams == 0)
        await until(lambda: tasks() <= before)
        assert len(stage.facts.of(Abandoned)) == 1


async def test_a_client_that_stalls_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.channels.sse.STALL_SECONDS", 0.2)
    engine = Endless()
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        _, writer = await connect(stage)
        writer.write(request(stage))
        await until(lambda: engine.open_streams == 1)
        await until(lambda: engine.open_streams == 0)
        assert stage.router.state.fleet.idle.is_set()
        writer.transport.abort()


@pytest.mark.parametrize("phase", ["upload", "scoring", "cache", "first event", "streaming", "collecting"])
async def test_leaving_in_any_phase_leaves_nothing_behind(tmp_path: Path, phase: str) -> None:
    engine = SpeakingBackend(hangs_after={"first event": 0, "streaming": 1, "collecting": 1}.get(phase))
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        before = tasks()
        reached, never = asyncio.Event(), asyncio.Event()

        async def hang(*args: object) -> None:
            reached.set()
            await never.wait()

        if phase == "scoring":
            stage.router.scorer.score = hang  # type: ignore[method-assign, assignment]
        if phase == "cache":
            stage.router.cache.get_many = hang  # type: ignore[method-assign, assignment]
        reader, writer = await connect(stage)
        sent = request(stage, stream=phase != "collecting")
        writer.write(sent[:-10] if phase == "upload" else sent)
        if phase == "upload":
            await until(lambda: len(tasks()) > len(before))
        elif phase in ("scoring", "cache"):
            await asyncio.wait_for(reached.wait(), 10)
        else:
            await until(lambda: engine.open_streams == 1)
            if phase == "streaming":
                assert (await reader.read(100)).startswith(b"HTTP/1.1 200")
        writer.transport.abort()
        await until(lambda: engine.open_streams == 0)
        await until(lambda: tasks() <= before)
        assert stage.router.state.fleet.idle.is_set()
        assert stage.facts.of(RequestRefused) == []  # leaving is no error of anybody's


async def test_a_client_that_leaves_in_the_moment_of_the_answer_frees_the_engine(tmp_path: Path) -> None:
    engine = Endless(pause=0.001, size=8)
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        before = tasks()
        for turn in range(60):
            _, writer = await connect(stage)
            writer.write(request(stage, stream=turn % 3 > 0))
            await asyncio.sleep(turn * 0.0005)
            writer.transport.abort()
        await until(lambda: engine.open_streams == 0 and tasks() <= before)
        assert stage.router.state.fleet.idle.is_set()


async def test_two_hundred_streams_with_random_departures_free_every_engine(tmp_path: Path) -> None:
    dice = random.Random(5)
    engine = Endless(pieces=20, size=20, pause=0.002)
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        before = tasks()
        whole = 0

        async def client(patience: float | None) -> None:
            nonlocal whole
            reader, writer = await connect(stage)
            writer.write(request(stage))
            try:
                async with asyncio.timeout(patience):
                    await reader.readuntil(b"[DONE]")
                    whole += 1
            except TimeoutError:
                pass
            finally:
                writer.transport.abort()

        patience = [dice.uniform(0, 1.0) if number % 2 else None for number in range(200)]
        async with asyncio.timeout(120):
            await asyncio.gather(*map(client, patience))
        await until(lambda: engine.open_streams == 0 and tasks() <= before, seconds=30)
        assert whole >= 100  # the patient ones
        assert stage.router.state.fleet.idle.is_set()
        ended = [fact.id for fact in stage.facts.of(BackendAnswered)]
        ended += [fact.id for fact in stage.facts.of(Abandoned)]
        assert len(ended) == len(set(ended))  # each ended once, one way or the other
        assert len(stage.facts.of(BackendAnswered)) >= whole


async def test_half_a_surrogate_pair_from_an_engine_reaches_the_client_as_an_escape(tmp_path: Path) -> None:
    engine = SpeakingBackend(events=[Delta("\ud83d"), Delta("\ude00"), Finish("stop")])
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
            body = {"messages": [{"role": "user", "content": "sky"}]}
            whole = await client.post("/v1/chat/completions", json=body)
            streamed = await client.post("/v1/chat/completions", json={**body, "stream": True})
        assert whole.json()["choices"][0]["message"]["content"] == "😀"
        assert '"content":"\\ud83d"' in streamed.text
        assert streamed.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("why", ["the client left", "the server stops"])
async def test_an_answer_that_arrives_in_the_moment_of_leaving_is_disposed_of(why: str) -> None:
    left, asked = asyncio.Event(), asyncio.Event()

    async def receive() -> dict[str, str]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def work() -> str:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:  # the answer was there already when it was cancelled
            return "an open stream"
        raise AssertionError("not reached")

    freed: list[str] = []

    async def free(answer: str) -> None:
        freed.append(answer)

    leaving = asyncio.create_task(unless_gone(Request({"type": "http"}, receive), work(), free))
    await asked.wait()
    if why == "the client left":
        left.set()
        with pytest.raises(ClientGone):
            await leaving
    else:
        leaving.cancel()
        with pytest.raises(Stopping):
            await leaving
    assert freed == ["an open stream"]
