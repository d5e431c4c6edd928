"""What strangers may do to a connection, over real sockets, with each of uvicorn's parsers."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from router.cli import server
from router.cli.connections import ConnectionLimits, limited
from router.cli.listening import bind
from router.closing import Closing
from router.core.facts import RequestRefused
from router.wiring.settings import Settings
from tests.stubs import Facts, until

PATIENT = ConnectionLimits(head_seconds=60, body_seconds=60, stall_seconds=60)
REQUEST = b"GET /ok HTTP/1.1\r\nhost: here\r\n\r\n"
POST = b"POST /ok HTTP/1.1\r\nhost: here\r\ncontent-length: 10\r\n\r\n"
CHUNK = b"x" * 65536


@dataclass
class Application:
    """Reads the body and answers with its length; `/endless` answers for ever, `/large` in one piece."""

    heard: list[str] = field(default_factory=list)
    refused: list[tuple[str, int]] = field(default_factory=list)
    sent: int = 0
    running: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.running += 1
        try:
            await self._answer(scope["path"], receive, send)
        finally:
            self.running -= 1

    async def _answer(self, path: str, receive: Receive, send: Send) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            self.heard.append(message["type"])
            if message["type"] == "http.disconnect":
                return
            size, more = size + len(message["body"]), message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if path == "/slow":
            await asyncio.sleep(1.5)
        gone = asyncio.ensure_future(receive())
        if path == "/large":
            await send({"type": "http.response.body", "body": CHUNK * 1000})
        while path == "/endless" and not gone.done():
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
            self.sent += 1
        gone.cancel()
        await _last(send, {"type": "http.response.body", "body": b"%d bytes" % size})

    def refusing(self, code: str, status: int) -> None:
        self.refused.append((code, status))


async def _last(send: Send, message: Message) -> None:
    with suppress(RuntimeError):  # the answer was whole already
        await send(message)


@asynccontextmanager
async def served(app: Application, limits: ConnectionLimits, parser: str) -> AsyncIterator[int]:
    """Serve `app`; yields the port."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        protocol = limited(limits, app.refusing, parser=parser)
        config = uvicorn.Config(
            app, http=protocol, ws="none", lifespan="off", log_level="critical", timeout_graceful_shutdown=1
        )
        live = uvicorn.Server(config)
        task = asyncio.create_task(live.serve(sockets=[listener]))
        try:
            await until(lambda: live.started)
            yield listener.getsockname()[1]
        finally:
            live.should_exit = True
            await task


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Read one whole answer."""
    async with asyncio.timeout(60):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        else:
            body = (await reader.readuntil(b"0\r\n\r\n")).split(b"\r\n")[1]
        return int(head[0].split()[1]), headers, body


async def refused(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Read a refusal in OpenAI's form, after which the connection must end."""
    status, headers, body = await answer(reader)
    assert headers["connection"] == "close"
    async with asyncio.timeout(60):
        assert await reader.read() == b""
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return status, error["code"]


async def trickle(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send a byte now and then, until nobody takes them any more."""
    try:
        for at in range(len(data)):
            writer.write(data[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0.02)
    except ConnectionError:
        pass


def read_to_the_end(plain: socket.socket) -> int:
    size = 0
    while data := plain.recv(1 << 20):
        size += len(data)
    return size


@pytest.fixture(params=["h11", "httptools"])
def parser(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("beginning", [b"", b"GET /ok HTTP/1.1\r\nx: " + b"y" * 100_000])
async def test_a_head_that_does_not_arrive_in_time_is_cut(parser: str, beginning: bytes) -> None:
    app = Application()
    limits = replace(PATIENT, head_seconds=0.3, head_bytes=10**6)
    async with served(app, limits, parser) as port:
        reader, writer = await connected(port)
        trickling = asyncio.create_task(trickle(writer, beginning))
        assert await refused(reader) == (408, "request_timeout")
        trickling.cancel()
        writer.close()
    assert app.refused == [("request_timeout", 408)]
    assert app.heard == []


async def test_a_second_head_is_bounded_too(parser: str) -> None:
    async with served(Application(), replace(PATIENT, head_seconds=1.0), parser) as port:
        reader, writer = await connected(port)
        writer.write(REQUEST)
        assert (await answer(reader))[0] == 200
        writer.write(REQUEST[:20])
        assert await refused(reader) == (408, "request_timeout")
        writer.close()


async def test_an_empty_line_keeps_no_idle_connection_open(parser: str) -> None:
    async with served(Application(), replace(PATIENT, head_seconds=1.0), parser) as port:
        reader, writer = await connected(port)
        writer.write(REQUEST)
        assert (await answer(reader))[0] == 200
        writer.write(b"\r\n")
        async with asyncio.timeout(60):
            await reader.read()  # to the end of the connection
        writer.close()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_a_byte_now_and_then_is_cut_for_the_application_too(parser: str, chunked: bool) -> None:
    app = Application()
    head = POST.replace(b"content-length: 10", b"transfer-encoding: chunked") if chunked else POST
    async with served(app, replace(PATIENT, body_seconds=0.3), parser) as port:
        reader, writer = await connected(port)
        writer.write(head.replace(b": 10", b": 100000"))
        trickling = asyncio.create_task(trickle(writer, b"1\r\nx\r\n" * 10_000))
        assert await refused(reader) == (408, "request_timeout")
        trickling.cancel()
        writer.close()
        await until(lambda: app.running == 0)
    assert app.heard[-1] == "http.disconnect"
    assert app.refused == [("request_timeout", 408)]


async def test_a_body_that_nobody_reads_after_an_early_answer_is_cut_too(parser: str) -> None:
    async def early(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    app = Application()
    app._answer = lambda path, receive, send: early({}, receive, send)  # type: ignore[method-assign]
    async with served(app, replace(PATIENT, body_seconds=0.3), parser) as port:
        reader, writer = await connected(port)
        writer.write(POST)
        assert (await answer(reader))[0] == 401
        trickling = asyncio.create_task(trickle(writer, b"x" * 9))
        async with asyncio.timeout(60):
            await reader.read()
        trickling.cancel()
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /ok HTTP/1.1\r\nx: " + b"y" * 5000,  # not whole yet
        b"GET /ok HTTP/1.1\r\nhost: here\r\nx: " + b"y" * 5000 + b"\r\n\r\n",
        b"GET /" + b"y" * 5000 + b" HTTP/1.1\r\nhost: here\r\n\r\n",
        b"GET /ok?" + b"y" * 5000 + b" HTTP/1.1\r\nhost: here\r\n\r\n",
        b"GET /ok HTTP/1.1\r\nhost: here\r\n" + b"x: y\r\n" * 20 + b"\r\n",
    ],
    ids=["unfinished", "one-header", "path", "query", "many-headers"],
)
async def test_a_head_that_is_too_large_is_refused(parser: str, head: bytes) -> None:
    app = Application()
    async with served(app, replace(PATIENT, head_bytes=4096, headers=20), parser) as port:
        reader, writer = await connected(port)
        writer.write(head)
        assert await refused(reader) == (431, "head_too_large")
        writer.close()
    assert app.refused == [("head_too_large", 431)]
    assert app.heard == []


async def test_a_large_body_is_no_large_head(parser: str) -> None:
    async with served(Application(), replace(PATIENT, head_bytes=4096), parser) as port:
        reader, writer = await connected(port)
        for _ in range(2):
            writer.write(POST.replace(b": 10", b": 1000000"))
            writer.write(b"x" * 1_000_000)
            assert (await answer(reader))[2] == b"1000000 bytes"
        writer.close()


async def test_trailers_without_end_take_no_memory() -> None:
    async with served(Application(), PATIENT, "httptools") as port:
        reader, writer = await connected(port)
        writer.write(POST.replace(b"content-length: 10", b"transfer-encoding: chunked"))
        writer.write(b"0\r\n" + b"x: y\r\n" * 1000 + b"\r\n")
        assert (await answer(reader))[2] == b"0 bytes"
        writer.write(REQUEST)  # and do not count as headers of the next one
        assert (await answer(reader))[0] == 200
        writer.close()


async def test_beyond_the_number_of_connections_503_and_room_again_once_one_leaves(parser: str) -> None:
    app = Application()
    async with served(app, replace(PATIENT, connections=2), parser) as port:
        first, second = await connected(port), await connected(port)
        second[1].write(REQUEST)  # answered, so both are there
        assert (await answer(second[0]))[0] == 200
        reader, writer = await connected(port)
        status, headers, body = await answer(reader)
        assert (status, headers["retry-after"], json.loads(body)["error"]["code"]) == (503, "1", "overloaded")
        writer.close()
        first[1].close()

        async def room() -> bool:
            reader, writer = await connected(port)
            writer.write(REQUEST)
            try:
                return (await answer(reader))[0] == 200
            except (ConnectionError, asyncio.IncompleteReadError):
                return False
            finally:
                writer.close()

        async with asyncio.timeout(60):
            while not await room():  # noqa: ASYNC110 - a client can only try
                await asyncio.sleep(0.05)
        second[1].close()


@pytest.mark.parametrize("path", [b"/endless", b"/large"])
async def test_a_client_that_does_not_read_is_cut_and_holds_little_memory(parser: str, path: bytes) -> None:
    app = Application()
    async with served(app, replace(PATIENT, stall_seconds=0.5), parser) as port:
        with socket.socket() as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.connect(("127.0.0.1", port))
            plain.sendall(REQUEST.replace(b"/ok", path))
            await until(lambda: app.running == 1)
            await until(lambda: app.running == 0, seconds=60)
            assert app.sent < 200, "flow control holds the application back"
            plain.settimeout(60)
            assert await asyncio.to_thread(read_to_the_end, plain) < 500 * len(CHUNK), "the rest is thrown away"


async def test_an_answer_may_take_longer_than_a_request(parser: str) -> None:
    limits = ConnectionLimits(head_seconds=1.0, body_seconds=1.0, stall_seconds=1.0)
    async with served(Application(), limits, parser) as port:
        reader, writer = await connected(port)
        writer.write(POST.replace(b"/ok", b"/slow") + b"x" * 10)
        assert (await answer(reader))[2] == b"10 bytes"
        writer.close()


async def test_requests_in_one_packet_are_all_answered(parser: str) -> None:
    async with served(Application(), PATIENT, parser) as port:
        reader, writer = await connected(port)
        writer.write(REQUEST + POST + b"x" * 10 + REQUEST)
        assert [(await answer(reader))[2] for _ in range(3)] == [b"0 bytes", b"10 bytes", b"0 bytes"]
        writer.close()


async def test_agoge_serve_has_these_bounds_and_counts_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    app, facts = Application(), Facts()

    @asynccontextmanager
    async def running(*_: object) -> AsyncIterator[SimpleNamespace]:
        router = SimpleNamespace(record=facts.record, closing=Closing())
        yield SimpleNamespace(app=app, admin=None, router=router)

    monkeypatch.setattr(server, "running", running)
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        async with server.serving(Settings(connections=1), listener):
            first = await connected(port)
            first[1].write(REQUEST)
            assert (await answer(first[0]))[0] == 200
            second = await connected(port)
            assert await refused(second[0]) == (503, "overloaded")
            second[1].close()
            first[1].write(b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\nhost: here\r\n\r\n")
            assert await refused(first[0]) == (431, "head_too_large")
            first[1].close()
    assert facts.of(RequestRefused) == [RequestRefused("overloaded", 503), RequestRefused("head_too_large", 431)]
