"""A TGI server as far as the wire shows it, with its documented misbehaviour. Knows no router code.

It answers from an adapter it was launched with, and, like the real one, from the *base* for any other name, with
status 200 and the unknown name echoed back: such an answer starts with `BASE`. Every request is recorded, also
whether the caller hung up. Facts: TGI 3.3.7 router/src/{lib,server}.rs and infer/mod.rs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

EVENT_FAULTS = {
    "overloaded": "Model is overloaded",
    "validation": "Input validation error: `temperature` must be strictly positive",
    "too long": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4090 `inputs` "
    "tokens and 100 `max_new_tokens`",
    "template": "Template error: template not found",
    "generation": "Request failed during generation: Server error: CUDA out of memory",
    "incomplete": "Incomplete generation stream",
}
"""Faults of a stream: always HTTP 200, one event with http_status_code 422, then [DONE]."""

STATUS_FAULTS: dict[str, tuple[int, str, str]] = {
    "429": (429, "application/json", '{"error":"Model is overloaded","error_type":"overloaded"}'),
    "422": (422, "application/json", '{"error":"Input validation error: too bad","error_type":"validation"}'),
    "422 text": (
        422,
        "text/plain",
        "Failed to deserialize the JSON body into the target type",
    ),
    "400 text": (400, "text/plain", "Failed to parse the request body as JSON"),
    "413 text": (413, "text/plain", "length limit exceeded"),
    "415 text": (415, "text/plain", "Expected request with `Content-Type: application/json`"),
    "424": (424, "application/json", '{"error":"Request failed during generation","error_type":"generation"}'),
    "500": (500, "application/json", '{"error":"Incomplete generation","error_type":"incomplete_generation"}'),
    "401": (401, "application/json", ""),
    "403": (403, "text/plain", "forbidden"),
    "404": (404, "text/plain", ""),
    "502": (502, "text/html", "<html>Bad Gateway</html>"),
    "503": (503, "application/json", '{"error":"unhealthy","error_type":"healthcheck"}'),
    "307": (307, "text/plain", ""),
}


@dataclass
class Seen:
    """One request as the server saw it, header names in lower case. `ended` is set when its handler is over."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    disconnected: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def model(self) -> object:
        """The adapter asked for, None when the request named none."""
        return self.body.get("model")


@dataclass
class FakeTgi:
    """`async with FakeTgi(names=[...]) as fake:` serves at `fake.url`. Every field can be changed while it runs.

    `fault` is a key of EVENT_FAULTS or STATUS_FAULTS, or: "die" (cut mid-stream), "die first" (cut before the
    first event), "garbage" (not JSON, mid-stream), "no finish" (ends cleanly, too early), "empty" (200, nothing).
    `words` is how many words follow the name. Delays are in seconds. `held` keeps every stream before its last
    word until it is released.
    """

    names: list[str] = field(default_factory=list)
    fault: str = ""
    space: bool = True
    newline: str = "\n"
    comments: int = 0
    first_delay: float = 0.0
    between_delay: float = 0.0
    words: int = 3
    finish_reason: str = "stop"
    tool_call: bool = False
    healthy: bool = True
    api_key: str = ""
    max_concurrent_requests: int = 128
    base: str = "fake/base-model"
    seen: list[Seen] = field(default_factory=list)
    running: int = 0
    url: str = ""
    held: asyncio.Event | None = None

    async def __aenter__(self) -> Self:
        """Start on a free loopback port."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/generate", self._generate)
        app.router.add_post("/", self._generate)
        app.router.add_get("/health", self._health)
        app.router.add_get("/info", self._info)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, cutting what is still open."""
        await self._runner.cleanup()

    @property
    def models_asked(self) -> list[object]:
        """The `model` of every chat request, in order."""
        return [seen.model for seen in self.seen if seen.path.startswith("/v1/")]

    async def _health(self, _: web.Request) -> web.Response:
        if self.healthy:
            return web.Response()
        return web.json_response({"error": "unhealthy", "error_type": "healthcheck"}, status=503)

    async def _info(self, _: web.Request) -> web.Response:
        return web.json_response({"model_id": self.base, "version": "3.3.7", "max_concurrent_requests": 128})

    async def _models(self, _: web.Request) -> web.Response:
        model = {"id": self.base, "object": "model", "created": 0, "owned_by": self.base}
        return web.json_response({"object": "list", "data": [model]})  # adapters are never listed

    async def _generate(self, request: web.Request) -> web.Response:
        """Continue a text, with details. Each speaker has its own, everybody else is the base."""
        seen = Seen(
            request.path, {name.lower(): value for name, value in request.headers.items()}, await request.json()
        )
        self.seen.append(seen)
        if self.fault in STATUS_FAULTS:
            status, kind, text = STATUS_FAULTS[self.fault]
            return web.Response(status=status, content_type=kind, text=text)
        asked = seen.body["parameters"]
        adapter = asked.get("adapter_id")
        who = adapter if adapter in self.names else "BASE"
        said = seen.body["inputs"].count(f" {who}")  # whoever is asked with its own words goes on from there
        places: list[list[dict[str, Any]]] = [
            [{"id": n, "text": f" {who}{place}.{n}", "logprob": -0.5 - n, "special": False} for n in range(5)]
            for place in range(said, said + asked["max_new_tokens"])
        ]
        details = {
            "finish_reason": "length",
            "generated_tokens": len(places),
            "seed": None,
            "prefill": [],  # empty since 3.0 without --enable-prefill-logprobs, also when it was asked for
            "tokens": [place[0] for place in places],
            "top_tokens": [place[: asked.get("top_n_tokens", 0)] for place in places],
        }
        answer = {"generated_text": "".join(place[0]["text"] for place in places), "details": details}
        return web.json_response([answer] if request.path == "/" else answer)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return web.Response(status=401)
        seen = Seen(
            request.path, {name.lower(): value for name, value in request.headers.items()}, await request.json()
        )
        self.seen.append(seen)
        self.running += 1
        try:
            if self.fault in STATUS_FAULTS:
                status, kind, text = STATUS_FAULTS[self.fault]
                return web.Response(
                    status=status, content_type=kind, text=text, headers={"Location": "/elsewhere"}
                )
            if self.running > self.max_concurrent_requests:
                return await self._full(request, seen)
            return await (self._stream(request, seen) if seen.body.get("stream") else self._whole(seen))
        except (asyncio.CancelledError, ConnectionResetError):
            seen.disconnected = True
            raise
        finally:
            self.running -= 1
            seen.ended.set()

    async def _full(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        if not seen.body.get("stream"):
            status, kind, text = STATUS_FAULTS["429"]
            return web.Response(status=status, content_type=kind, text=text)
        response = await self._begin(request)
        await self._say_error(response, "overloaded")
        return response

    def _answer(self, seen: Seen) -> list[str]:
        who = f"{seen.model} says" if seen.model in self.names else "BASE"
        return [who, *(f" word{index}" for index in range(self.words))]

    def _chunk(self, seen: Seen, choices: list[dict[str, Any]], usage: object = None) -> dict[str, Any]:
        model = self.base if seen.model in (None, "tgi") else seen.model  # echoed even when it does not exist
        head = {"object": "chat.completion.chunk", "id": "", "created": 0, "model": model}
        return {**head, "system_fingerprint": "3.3.7-native", "choices": choices, "usage": usage}

    async def _whole(self, seen: Seen) -> web.Response:
        text = "".join(self._answer(seen))
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": self.words + 1, "total_tokens": self.words + 8}
        return web.json_response({**self._chunk(seen, [choice], usage), "object": "chat.completion"})

    async def _begin(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        return response

    async def _line(self, response: web.StreamResponse, text: str) -> None:
        prefix = "data: " if self.space else "data:"
        await response.write(f"{prefix}{text}{self.newline}{self.newline}".encode())

    async def _say_error(self, response: web.StreamResponse, fault: str) -> None:
        await self._line(
            response, json.dumps({"error": {"message": EVENT_FAULTS[fault], "http_status_code": 422}})
        )
        await self._line(response, "[DONE]")

    async def _wait(self, response: web.StreamResponse, seconds: float) -> None:
        for _ in range(self.comments):
            await response.write(f":{self.newline}{self.newline}".encode())
            await asyncio.sleep(seconds / self.comments)
        if not self.comments and seconds:
            await asyncio.sleep(seconds)

    async def _stream(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        response = await self._begin(request)
        if self.fault in ("die first", "empty"):
            return self._end_early(request, response)
        await self._wait(response, self.first_delay)
        if self.fault in ("overloaded", "validation", "too long", "template"):
            await self._say_error(response, self.fault)
            return response
        pieces = self._answer(seen)
        for index, piece in enumerate(pieces):
            if index:
                await self._wait(response, self.between_delay)
            if index == len(pieces) - 1 and self.held is not None:
                await self.held.wait()
            if index == 1 and self.fault in ("die", "no finish"):
                return self._end_early(request, response)
            if index == 1 and self.fault == "garbage":
                await self._line(response, '{"choices": [')
            elif index == 1 and self.fault in EVENT_FAULTS:
                await self._say_error(response, self.fault)
                return response
            delta: dict[str, Any] = {"role": "assistant", "content": piece}
            if self.tool_call:
                call = {"index": 0, "id": "0", "type": "function", "function": {"name": "f", "arguments": piece}}
                delta = {"role": "assistant", "tool_calls": call}  # one object, not a list: TGI before 3.2
            last = self.finish_reason if index == len(pieces) - 1 else None
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": last}
            await self._line(response, json.dumps(self._chunk(seen, [choice])))
        if (seen.body.get("stream_options") or {}).get("include_usage"):
            usage = {"prompt_tokens": 7, "completion_tokens": len(pieces), "total_tokens": 7 + len(pieces)}
            await self._line(response, json.dumps(self._chunk(seen, [], usage)))
        await self._line(response, "[DONE]")
        return response

    def _end_early(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        if self.fault.startswith("die") and request.transport is not None:
            request.transport.close()
        return response
