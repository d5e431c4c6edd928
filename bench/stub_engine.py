"""An engine that answers at once, or one token at a time. For measuring what is around it.

Run as `python -m bench.stub_engine PORT [--tokens N --gap MS]`. It speaks just enough HTTP/1.1 to be cheap: one
connection, one request at a time, bodies with a Content-Length. Every POST is a chat request: `"stream": true`
in its body makes the answer server-sent events. With --gap the tokens come one by one, and each tells when it
was sent (nanoseconds of the machine's monotonic clock), so that whoever receives it knows how long it was on its
way. Knows neither models nor prompts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from importlib.util import find_spec
from typing import cast

TOKENS = ("Endure", " and", " act.")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
STREAMED = re.compile(rb'"stream": *true')
USAGE = {"prompt_tokens": 9, "completion_tokens": len(TOKENS), "total_tokens": 9 + len(TOKENS)}
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = EVENTS + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def event(body: dict[str, object]) -> bytes:
    """Return one server-sent event."""
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def token(text: str, finish: str | None = None) -> bytes:
    """Return the event of one token."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": finish}
    return event(
        {"id": "s", "object": "chat.completion.chunk", "created": 0, "model": "stub", "choices": [choice]}
    )


def end(completion: int) -> bytes:
    """Return the events behind the last token."""
    usage = {"prompt_tokens": 9, "completion_tokens": completion, "total_tokens": 9 + completion}
    body = {"id": "s", "object": "chat.completion.chunk", "created": 0, "model": "stub", "choices": []}
    return event({**body, "usage": usage}) + b"data: [DONE]\n\n"


def sized(kind: str, body: bytes) -> bytes:
    """Return a whole answer."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunk(body: bytes) -> bytes:
    """Return one piece of an answer whose length is not known yet."""
    return b"%x\r\n%s\r\n" % (len(body), body)


ANSWER = b"".join(token(text, "stop" if text == TOKENS[-1] else None) for text in TOKENS) + end(len(TOKENS))
STREAM = sized("text/event-stream", ANSWER)
WHOLE = sized(
    "application/json",
    json.dumps(
        {
            "id": "s",
            "object": "chat.completion",
            "created": 0,
            "model": "stub",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "".join(TOKENS)},
                    "finish_reason": "stop",
                }
            ],
            "usage": USAGE,
        }
    ).encode(),
)
WELL = sized("application/json", b"{}")


class Engine(asyncio.Protocol):
    """One connection. `tokens` and `gap` (seconds): how slow streams are; a gap of 0 sends all at once."""

    def __init__(self, tokens: int, gap: float) -> None:
        self._tokens, self._gap = tokens, gap
        self._read = bytearray()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to write."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Whoever asked is gone: say no more."""
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole by now."""
        self._read += data
        while (head := self._read.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self._read, 0, head)
            whole = head + 4 + (int(length[1]) if length else 0)
            if len(self._read) < whole:
                return
            request = bytes(self._read[:whole])
            del self._read[:whole]
            self._answer(request, head)

    def _answer(self, request: bytes, head: int) -> None:
        if not request.startswith(b"POST"):
            self._transport.write(WELL)
        elif not STREAMED.search(request, head):
            self._transport.write(WHOLE)
        elif not self._gap:
            self._transport.write(STREAM)
        else:
            self._transport.write(CHUNKED)
            self._speak(1)

    def _speak(self, number: int) -> None:
        last = number == self._tokens
        said = token(f"{time.monotonic_ns()} ", "stop" if last else None)
        if last:
            self._transport.write(chunk(said + end(number)) + LAST)
            return
        self._transport.write(chunk(said))
        self._timer = asyncio.get_running_loop().call_later(self._gap, self._speak, number + 1)


async def serve(port: int, tokens: int, gap: float) -> None:
    """Serve on the loopback `port` for ever."""
    made = lambda: Engine(tokens, gap)  # noqa: E731 - one line, one caller
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    """Read the arguments and serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m bench.stub_engine", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--tokens", type=int, default=len(TOKENS))
    parser.add_argument("--gap", type=float, default=0.0, help="milliseconds between tokens")
    options = parser.parse_args()
    served = serve(options.port, options.tokens, options.gap / 1000)
    if find_spec("uvloop") is not None:
        import uvloop

        uvloop.run(served)
    else:
        asyncio.run(served)


if __name__ == "__main__":
    main()
