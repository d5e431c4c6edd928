"""Thousands of malformed requests over real sockets: nothing breaks, nothing hangs, nothing is left behind."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from tests.fuzz.chance import SEED, TIMES
from tests.fuzz.malformed import DECISIONS, KINDS, draw
from tests.fuzz.served import served

REQUESTS = 5500 * TIMES  # for each of uvicorn's two HTTP parsers
WARM = 2500  # before memory is measured: caches fill, and Python's own arenas grow to their size
AT_ONCE = 24
PATIENCE = 0.3  # seconds without an answer until we say that nothing more will come
BOUND = 60  # seconds after that until the connection must have ended
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


@dataclass
class Seen:
    """What came back: how often which status, of which kinds, and what must not be."""

    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    bad: list[tuple[str, bytes, bytes]] = field(default_factory=list)


async def send(port: int, kind: str, raw: bytes, dice: random.Random, seen: Seen) -> None:
    """Send one request, read until the server ends the connection, and note what it said."""
    answer = b""
    try:
        async with asyncio.timeout(BOUND):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                for piece in _pieces(raw, dice):
                    writer.write(piece)
                    await asyncio.sleep(0)
                while True:
                    try:
                        async with asyncio.timeout(PATIENCE):
                            got = await reader.read(65536)
                    except TimeoutError:
                        break
                    if not got:
                        break
                    answer += got
                writer.write_eof()  # whoever waits for the rest of our request is told that there is none
                while got := await reader.read(65536):
                    answer += got
            finally:
                writer.close()
    except TimeoutError:
        seen.bad.append((f"{kind}: hangs", raw, answer))
    except OSError:
        pass  # the server cut us off, which is its good right
    seen.kinds[kind] += 1
    for status in map(int, STATUS.findall(answer)):
        seen.statuses[status] += 1
        if status >= 500:
            seen.bad.append((kind, raw, answer))


def _pieces(raw: bytes, dice: random.Random) -> Iterator[bytes]:
    if dice.random() < 0.7:
        yield raw
        return
    cut = dice.randint(0, len(raw))
    yield raw[:cut]
    yield raw[cut:]


async def attack(port: int, count: int, dice: random.Random, seen: Seen) -> None:
    """Send `count` requests, some at once."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        kind, raw = draw(dice)
        await send(port, kind, raw, dice, seen)
        room.release()

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            await room.acquire()
            group.create_task(one())


async def rest(process: psutil.Process, fds: int) -> int:
    """Return how many files are open once no more than `fds` are, or after ten seconds."""
    for _ in range(100):
        if process.num_fds() <= fds:
            break
        await asyncio.sleep(0.1)
    return process.num_fds()


@pytest.mark.timeout(600 * TIMES)  # against a hang; it takes 12 seconds
@pytest.mark.parametrize("parser", ["h11", "httptools"])
async def test_malformed_requests_break_nothing(tmp_path: Path, parser: str) -> None:
    dice, seen = random.Random(f"{SEED} {parser}"), Seen()
    with served(tmp_path, parser) as (port, process, log):
        fds = process.num_fds()
        await attack(port, WARM, dice, seen)
        memory = process.memory_info().rss
        await attack(port, REQUESTS - WARM, dice, seen)
        again = f"FUZZ_SEED={SEED}"
        assert not seen.bad, (again, seen.bad[:3])
        assert seen.kinds.total() == REQUESTS
        assert seen.kinds.keys() == KINDS.keys()
        assert seen.statuses[200] > 20, seen.statuses  # some were right, by luck: the others were not all cut off
        assert seen.statuses[400] > REQUESTS / 10, seen.statuses
        assert "Traceback" not in log.read_text(), (again, log.read_text()[-4000:])
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            good = await client.post(
                DECISIONS, json={"input": "Why is the sky blue?"}, headers={"authorization": "Bearer sk-plain"}
            )
            assert good.status_code == 200
            assert good.json()["adapters"] == {"core": 1.0, "physics": 0.8}
        assert await rest(process, fds) <= fds, [each.status for each in process.net_connections()]
        assert process.memory_info().rss - memory < 24 * 2**20, again
        print(f"{parser}: {dict(seen.statuses)}, {dict(seen.kinds)}")


@pytest.mark.parametrize("gap", [0.0, 0.002])  # seconds: before the answer, and behind it
@pytest.mark.parametrize("parser", ["h11", "httptools"])
def test_a_body_that_breaks_off_around_its_answer_leaves_no_traceback(
    tmp_path: Path, parser: str, gap: float
) -> None:
    with served(tmp_path, parser) as (port, _, log):
        for path in ("/nowhere", "/v1/models", "/v1/chat/completions") * 10:
            head = f"POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(head if gap else head + b"zz\r\n")
                if gap:
                    time.sleep(gap)
                    client.sendall(b"zz\r\n")
                assert client.recv(1000).startswith(b"HTTP/1.1 4")
        assert "Traceback" not in log.read_text()
