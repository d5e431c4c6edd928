"""A fake vLLM as a process that fails on command, and writes down who it was asked to be. Knows no router code.

    python -m bench.chaos.engine PORT RECORDS NAME...

It holds the adapters NAME... and answers any other `model` with vLLM's 404. An answer is `PIECES` numbered
pieces (or `max_tokens`, then long ones, as fast as they are taken), each of which names its speaker, so that
whoever reads it sees a lost, doubled or foreign piece. Every request is a line of RECORDS when it begins and
another when it ends, with the number of pieces that were said. `POST /chaos` with {"fault", "pace"} changes how
it behaves from then on, `GET /chaos` says how many answers are open.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

PIECES = 6
PACE = 0.01  # seconds between pieces
PADDING = " " * 16_000  # behind each piece of an answer with `max_tokens`
DRIP = 0.25  # seconds between the pieces of an engine that drips
FAULTS = ("", "hang", "stall", "die", "429", "500", "garbage", "half", "event", "drip")
BASE = "chaos-base"


def piece(speaker: str, number: int) -> str:
    """Return one piece of an answer; the Cyrillic letters are there to be cut in half."""
    return f"<{speaker}>ё{number} "


class Engine:
    """`adapters` are what it holds. `fault` is one of FAULTS, `pace` the seconds between two pieces."""

    def __init__(self, adapters: list[str], records: Path) -> None:
        self.adapters = adapters
        self.fault, self.pace, self.open, self.asked = "", PACE, 0, 0
        self._records = records.open("a", encoding="utf-8", buffering=1)

    def app(self) -> web.Application:
        """Return the routes."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/health", self.state)
        app.router.add_get("/chaos", self.state)
        app.router.add_post("/chaos", self.change)
        return app

    async def models(self, _: web.Request) -> web.Response:
        """List the base and the adapters, as vLLM does."""
        cards = [{"id": BASE, "root": "/base", "parent": None}]
        cards += [{"id": name, "root": f"/{name}", "parent": BASE} for name in self.adapters]
        return web.json_response({"object": "list", "data": [{"object": "model", **card} for card in cards]})

    async def state(self, _: web.Request) -> web.Response:
        """Say how many answers are open."""
        return web.json_response({"open": self.open, "asked": self.asked})

    async def change(self, request: web.Request) -> web.Response:
        """Behave otherwise from now on."""
        told = await request.json()
        self.fault, self.pace = told["fault"], told["pace"]
        return web.json_response({"fault": self.fault})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer, or fail as told."""
        body = await request.json()
        speaker, fault = str(body.get("model")), self.fault
        if speaker not in self.adapters:
            self._write(request, speaker, "unknown")
            return _error(404, f"The model `{speaker}` does not exist.")
        self.asked += 1
        odd = self.asked % 2 == 1
        self._write(request, speaker, "began")
        self.open += 1
        how, request["said"] = "cut", 0
        try:
            if fault == "429":
                return _error(429, "too many requests")
            if fault == "500":
                return _error(500, "EngineCore died")
            if fault == "hang" and odd:
                await asyncio.Event().wait()
            with suppress(ConnectionError):  # the router has left
                how = await self._say(request, speaker, fault, odd, body.get("max_tokens") or PIECES)
        finally:
            self.open -= 1
            self._write(request, speaker, how, request["said"])
        return request["answer"]  # type: ignore[no-any-return]

    async def _say(self, request: web.Request, speaker: str, fault: str, odd: bool, pieces: int) -> str:
        """Stream the answer; return how it ended. `odd`: every other request, where a fault has two forms."""
        response = request["answer"] = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        fails_at = 0 if odd and fault in ("garbage", "event") else 2
        await response.write(_chunk(speaker, {"role": "assistant", "content": ""}))
        for number in range(pieces):
            if fault == "hang":
                await asyncio.Event().wait()
            await asyncio.sleep(DRIP if fault == "drip" else self.pace if pieces == PIECES else 0)
            said = piece(speaker, number) + ("" if pieces == PIECES else PADDING)
            block = _chunk(speaker, {"content": said})
            middle = block.index("ё".encode()) + 1
            if number == fails_at and fault == "stall":
                await asyncio.Event().wait()
            if number == fails_at and fault in ("die", "half"):
                if fault == "half" and not odd:
                    await response.write(block[:middle])
                    await asyncio.sleep(0.02)  # it must arrive before the end does
                if fault == "die" or not odd:
                    _cut(request)
                    return fault
            if number == fails_at and fault == "garbage":
                await response.write(b'data: {"choices": [\xff\xfe\n\n' if odd else b'data: "\xd1 nonsense"\n\n')
                return fault
            if number == fails_at and fault == "event":
                wrong = {"error": {"message": "EngineCore died", "type": "InternalServerError", "code": 500}}
                await response.write(f"data: {json.dumps(wrong)}\n\ndata: [DONE]\n\n".encode())
                return fault
            if fault in ("half", "drip"):
                await response.write(block[:middle])
                await asyncio.sleep(0.02)
                await response.write(block[middle:])
            else:
                await response.write(block)
            request["said"] += 1
        await response.write(_chunk(speaker, {}, "stop") + b"data: [DONE]\n\n")
        return "whole"

    def _write(self, request: web.Request, speaker: str, how: str, said: int = 0) -> None:
        line = {"decision": request.headers.get("X-Request-Id", ""), "model": speaker, "how": how, "said": said}
        line["at"] = time.monotonic()
        self._records.write(json.dumps(line) + "\n")


def _chunk(speaker: str, delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": speaker, "choices": [choice]}
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "Error", "code": status}}, status=status)


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def main() -> None:
    """Serve on the loopback until it is killed."""
    port, records, *adapters = sys.argv[1:]
    app = Engine(adapters, Path(records)).app()
    web.run_app(
        app, host="127.0.0.1", port=int(port), print=None, access_log=None, handler_cancellation=True,
        shutdown_timeout=0.1, reuse_address=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
