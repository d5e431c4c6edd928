"""The load: chat requests over bare sockets, in a closed loop, and how long each took.

Cheaper than what it measures: a request is bytes made ahead, an answer is read no further than to its end. What
it can ask of the stub engine alone is measured beside everything else (`bench.speed.rate`). Knows HTTP, and of
an answer only where it ends.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

LIMIT = 60.0  # seconds without a byte after which an answer is given up
ENDED = b"0\r\n\r\n"


class LoadFailed(Exception):
    """An answer that is none: the measurement would be of something else."""


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of one request: to the first byte of the answer's body, and to its end."""

    first: float
    whole: float


def request(url: str, body: dict[str, Any] | None = None) -> bytes:
    """Return a request's bytes; without a body a GET."""
    parts = urlsplit(url)
    path = parts.path or "/"
    if body is None:
        return f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    said = json.dumps(body, ensure_ascii=False).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(said)}\r\n\r\n".encode() + said


def chat(url: str, model: str, text: str, *, stream: bool) -> bytes:
    """Return a chat request's bytes. `url` is the server's root."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
    return request(f"{url}/v1/chat/completions", body)


class Answer:
    """One answer as it arrives. `first` says when its body began, `body` is None until its head is whole."""

    __slots__ = ("_length", "_read", "_start", "first")

    def __init__(self) -> None:
        self._read = bytearray()
        self._start = 0
        self._length: int | None = None
        self.first = 0.0

    def feed(self, data: bytes) -> bool:
        """Take what arrived; True once the answer is whole. Raises LoadFailed for any status but 200."""
        self._read += data
        if not self._start:
            end = self._read.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._start = end + 4
            head = bytes(self._read[:end]).lower()
            if not head.startswith(b"http/1.1 200"):
                raise LoadFailed(f"an answer that is no 200: {bytes(self._read[:400])!r}")
            _, found, length = head.partition(b"\r\ncontent-length:")
            self._length = int(length.split(b"\r\n", 1)[0]) if found else None
        if len(self._read) > self._start and not self.first:
            self.first = time.perf_counter()
        if self._length is not None:
            return len(self._read) >= self._start + self._length
        return self._read.endswith(ENDED)

    @property
    def body(self) -> bytes:
        """What has come of the body, as it was sent."""
        return bytes(self._read[self._start :])


class Caller:
    """One connection that asks one request after the other. Raises LoadFailed for a broken answer."""

    def __init__(self, url: str, limit: float = LIMIT) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 80), limit)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, said: bytes) -> Took:
        """Ask, and wait for the end of the answer."""
        return self.hear(said)[0]

    def hear(self, said: bytes) -> tuple[Took, bytes]:
        """Ask, and return what was answered, too."""
        answer = Answer()
        started = time.perf_counter()
        self._socket.sendall(said)
        while True:
            data = self._socket.recv(65536)
            if not data:
                raise LoadFailed(f"the connection was closed within an answer: {answer.body[:200]!r}")
            if answer.feed(data):
                ended = time.perf_counter()
                return Took(answer.first - started, ended - started), answer.body


def pressed(url: str, requests: Iterable[bytes], connections: int, *, until: float = float("inf")) -> list[Took]:
    """Ask all the requests over `connections`, each waiting for its answer; in the order in which answers end.

    Stops asking at `until` (time.perf_counter). Raises LoadFailed.
    """
    took: list[Took] = []
    for one, _ in heard(url, requests, connections, until=until, each=None):
        took.append(one)
    return took


def heard(
    url: str,
    requests: Iterable[bytes],
    connections: int,
    *,
    until: float = float("inf"),
    every: float = 0.0,
    each: Callable[[float, bytes], None] | None = None,
) -> Iterator[tuple[Took, bytes]]:
    """Yield every answer as it ends. A connection is opened `every` so many seconds, 0 opens all at once.

    `each` is told (perf_counter, bytes) of all that arrives, as it does.
    """
    parts, waiting = urlsplit(url), iter(requests)
    with selectors.DefaultSelector() as selector:
        open_: list[socket.socket] = []

        def begin(connection: socket.socket) -> tuple[Answer, float] | None:
            said = next(waiting, None) if time.perf_counter() < until else None
            if said is None:
                return None
            started = time.perf_counter()
            connection.setblocking(True)
            connection.sendall(said)
            connection.setblocking(False)
            return Answer(), started

        try:
            next_one = time.perf_counter()
            while len(open_) < connections or selector.get_map():
                while len(open_) < connections and time.perf_counter() >= next_one:
                    connection = socket.create_connection((parts.hostname or "", parts.port or 80), LIMIT)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    open_.append(connection)
                    next_one += every
                    if (begun := begin(connection)) is not None:
                        selector.register(connection, selectors.EVENT_READ, begun)
                waits_for_more = len(open_) < connections
                ready = selector.select(max(0.0, next_one - time.perf_counter()) if waits_for_more else LIMIT)
                if not (ready or waits_for_more or not selector.get_map()):
                    raise LoadFailed(f"{url}: no answer within {LIMIT:g} s")
                for key, _ in ready:
                    connection, (answer, started) = key.fileobj, key.data  # type: ignore[assignment]
                    data = connection.recv(65536)
                    if not data:
                        raise LoadFailed(f"{url}: closed within an answer: {answer.body[:200]!r}")
                    now = time.perf_counter()
                    if each is not None:
                        each(now, data)
                    if not answer.feed(data):
                        continue
                    yield Took(answer.first - started, time.perf_counter() - started), answer.body
                    if (begun := begin(connection)) is None:
                        selector.unregister(connection)
                    else:
                        selector.modify(connection, selectors.EVENT_READ, begun)
        finally:
            for connection in open_:
                connection.close()
