"""What clients do to a server. Whoever does it may suffer from it; nobody else may."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress

from bench.chaos.fault import Fault, logged
from bench.chaos.judge import Allowed, Record
from bench.chaos.policies import APART, KEYS
from bench.chaos.stage import Stage, until

READERS, WRITERS = 4, 16  # ill-behaved clients at once
FILLING = 2.0  # seconds: until the buffers on the way are full, which keeps the processor busy and is no fault
LONG = 400  # pieces: six megabytes, more than the buffers between two sockets take
_KEY = next(key for key, tenant in KEYS.items() if tenant != APART)


def _request(length: int | None = None) -> bytes:
    message = {"role": "user", "content": "hello"}
    body = json.dumps({"model": "core", "stream": True, "max_tokens": LONG, "messages": [message]}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: agoge\r\nAuthorization: Bearer {_KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length or len(body)}\r\n\r\n"
    )
    return head.encode() + (b"" if length else body)


@asynccontextmanager
async def leaving(stage: Stage) -> AsyncIterator[None]:
    """Every third stream is left after its first piece: the load itself does it, see `leaves`."""
    await asyncio.sleep(0)
    yield


@asynccontextmanager
async def _each(
    stage: Stage, number: int, behave: Callable[[Stage], Coroutine[None, None, None]]
) -> AsyncIterator[None]:
    """Run clients that behave so until the end of the block, then hang up."""
    tasks = [asyncio.create_task(behave(stage)) for _ in range(number)]

    async def connected() -> bool:
        return (await asyncio.to_thread(stage.footprint)).peers.get("clients", 0) >= number

    try:
        await until(f"{number} slow clients to be connected", connected)
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _connect(stage: Stage, *, buffer: int = 0) -> socket.socket:
    line = socket.socket()
    if buffer:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    line.setblocking(False)
    await asyncio.get_running_loop().sock_connect(line, ("127.0.0.1", stage.port))
    return line


async def _read_slowly(stage: Stage) -> None:
    loop = asyncio.get_running_loop()
    while True:
        with await _connect(stage, buffer=2048) as line:
            await loop.sock_sendall(line, _request())
            while await loop.sock_recv(line, 16):  # noqa: ASYNC110 - this waits for nothing: it is the slowness
                await asyncio.sleep(0.1)


async def _write_slowly(stage: Stage) -> None:
    loop = asyncio.get_running_loop()
    while True:
        with await _connect(stage) as line, suppress(OSError):
            await loop.sock_sendall(line, _request(length=1000))
            while True:
                await loop.sock_sendall(line, b" ")
                await asyncio.sleep(1.0)


@asynccontextmanager
async def reading_slowly(stage: Stage) -> AsyncIterator[None]:
    """Clients that ask for streams and take 160 bytes a second."""
    async with _each(stage, READERS, _read_slowly):
        await asyncio.sleep(FILLING)
        yield


@asynccontextmanager
async def writing_slowly(stage: Stage) -> AsyncIterator[None]:
    """Clients that send their body a byte a second."""
    async with _each(stage, WRITERS, _write_slowly):
        yield


async def _answers(stage: Stage) -> bool:
    return (await stage.say("hello", model="core"))[0] == 200


def _connected(log: Sequence[Record], records: Sequence[Record]) -> bool:
    return True  # `_each` has waited for it


FAULTS = [
    Fault(
        "Client", "client-leaves", "it leaves in the middle of a stream",
        "Its engine is freed at once; the log has `Abandoned`.",
        leaving, Allowed(left=True), logged("Abandoned"), _answers, lambda r: r["end"] != "left", leaves=3,
    ),
    Fault(
        "Client", "client-reads-slowly", "it reads slowly",
        "The engine waits for it, nothing piles up in the router; after 120 s without a byte taken it is let go.",
        reading_slowly, Allowed(), logged("Abandoned"), _answers, lambda record: True,
    ),
    Fault(
        "Client", "client-writes-slowly", "it sends its body a byte a second",
        "Nothing is asked of anybody before the body is there.",
        writing_slowly, Allowed(), _connected, _answers, lambda record: True,
    ),
]  # fmt: skip
