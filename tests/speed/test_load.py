"""The load and the stub engine against each other and against aiohttp, which knows HTTP better than both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import repeat

import aiohttp
import pytest
import pytest_asyncio

from bench.speed.load import Answer, Caller, LoadFailed, chat, heard, pressed, request
from bench.stub_engine import Engine

TEXT = "Endure and act."


async def _served(tokens: int, gap: float) -> AsyncIterator[str]:
    server = await asyncio.get_running_loop().create_server(lambda: Engine(tokens, gap), "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest_asyncio.fixture
async def engine() -> AsyncIterator[str]:
    async for url in _served(3, 0.0):
        yield url


@pytest_asyncio.fixture
async def slow_engine() -> AsyncIterator[str]:
    async for url in _served(4, 0.001):
        yield url


async def _events(url: str) -> list[str]:
    body = {"model": "core", "messages": [{"role": "user", "content": "привет"}], "stream": True}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/chat/completions", json=body) as response,
    ):
        assert response.content_type == "text/event-stream"
        text = await response.text()
    return [line.removeprefix("data: ") for line in text.split("\n\n") if line]


async def test_the_stub_streams_three_tokens_a_usage_and_done(engine: str) -> None:
    *chunks, done = await _events(engine)
    assert done == "[DONE]"
    parsed = [json.loads(chunk) for chunk in chunks]
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in parsed[:-1]) == TEXT
    assert [chunk["choices"][0]["finish_reason"] for chunk in parsed[:-1]] == [None, None, "stop"]
    assert parsed[-1]["usage"]["completion_tokens"] == 3


async def test_the_slow_stub_tells_when_each_token_was_sent(slow_engine: str) -> None:
    *chunks, _ = await _events(slow_engine)
    sent = [int(json.loads(chunk)["choices"][0]["delta"]["content"]) for chunk in chunks[:-1]]
    assert len(sent) == 4
    assert sent == sorted(sent)
    assert json.loads(chunks[-1])["usage"]["completion_tokens"] == 4


async def test_the_stub_answers_whole_where_no_stream_is_asked_for(engine: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{engine}/v1/chat/completions", json={"stream": False}) as response:
            said = await response.json()
        async with session.get(f"{engine}/health") as response:
            assert response.status == 200
    assert said["choices"][0]["message"]["content"] == TEXT


async def test_a_request_in_pieces_is_one_request(engine: str) -> None:
    said = chat(engine, "core", "hello", stream=False)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(engine.rpartition(":")[2]))
    for piece in (said[:7], said[7:60], said[60:]):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_hears_answer_after_answer_over_one_connection(engine: str, stream: bool) -> None:
    def ask() -> list[bytes]:
        with Caller(engine) as caller:
            return [caller.hear(chat(engine, "core", "hello", stream=stream))[1] for _ in range(3)]

    bodies = await asyncio.to_thread(ask)
    assert len(set(bodies)) == 1
    assert b"Endure" in bodies[0]


async def test_pressing_asks_each_request_once(engine: str) -> None:
    took = await asyncio.to_thread(pressed, engine, repeat(request(f"{engine}/health"), 50), 8)
    assert len(took) == 50
    assert all(0 < one.first <= one.whole for one in took)


async def test_streams_are_heard_token_by_token(slow_engine: str) -> None:
    arrived: list[bytes] = []

    def hear() -> int:
        asked = repeat(chat(slow_engine, "core", "hello", stream=True), 3)
        each = lambda now, data: arrived.append(data)  # noqa: E731 - one line, one caller
        return len(list(heard(slow_engine, asked, 3, every=0.001, each=each)))

    assert await asyncio.to_thread(hear) == 3
    assert b"".join(arrived).count(b"[DONE]") == 3


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", b"cd"], [False, True]),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"], [True]),
        (
            [b"HTTP/1.1 200 OK\r\nTransfer-", b"Encoding: chunked\r\n\r\n", b"2\r\nab\r\n", b"0\r\n\r\n"],
            [False] * 3 + [True],
        ),
    ],
)
def test_an_answer_ends_where_its_head_says(pieces: list[bytes], whole: list[bool]) -> None:
    answer = Answer()
    assert [answer.feed(piece) for piece in pieces] == whole


def test_what_is_no_200_is_not_measured() -> None:
    with pytest.raises(LoadFailed, match="429"):
        Answer().feed(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")
