"""TGI's wire around a tiny engine that really computes: /generate, the chat stream, /health. Knows no router code.

Unlike `fake_tgi`, which says what it is told, this one says what follows from its weights and its faults.
Facts: TGI 3.3.7 router/src/{lib,server}.rs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from aiohttp import web

from tests.backends.tiny_engine import Array, TinyEngine

BASE_MODEL = "some/base"


def lora_adapters(engine: TinyEngine) -> str:
    """Return the LORA_ADAPTERS line that the engine was launched with."""
    return ",".join(f"{name}={folder}" for name, folder in engine.adapters.items())


@dataclass
class TinyTgi:
    """`async with TinyTgi(engine) as tgi:` serves at `tgi.url`. Engine and health can be changed while it runs.

    `asked` holds (path, adapter) of every request that reached the engine. `held`, while it is not set, keeps
    /generate from answering. `full` answers that many requests with 429 first.
    """

    engine: TinyEngine
    healthy: bool = True
    full: int = 0
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def __aenter__(self) -> Self:
        """Start on a free loopback port."""
        self.held.set()
        app = web.Application()
        app.router.add_post("/generate", self._generate)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/health", self._health)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self._runner.cleanup()

    @property
    def chats(self) -> list[str | None]:
        """The `model` of every chat request."""
        return [adapter for path, adapter in self.asked if path == "/v1/chat/completions"]

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.healthy else 503)

    async def _generate(self, request: web.Request) -> web.Response:
        body = await request.json()
        parameters = body.get("parameters") or {}
        adapter = parameters.get("adapter_id")
        if not (adapter is None or isinstance(adapter, str)):
            return web.Response(status=422, text="Failed to deserialize the JSON body into the target type")
        self.asked.append(("/generate", adapter))
        if self.full:
            self.full -= 1
            return web.json_response({"error": "Model is overloaded", "error_type": "overloaded"}, status=429)
        await self.held.wait()
        wanted = int(parameters.get("top_n_tokens") or 0)
        if wanted > 5:
            message = f"Input validation error: `top_n_tokens` must be >= 0 and <= 5. Given: {wanted}"
            return web.json_response({"error": message, "error_type": "validation"}, status=422)
        cold = bool(parameters.get("decoder_input_details"))  # TGI leaves the prefix cache alone then
        tokens, tops = [], []
        count = int(parameters.get("max_new_tokens") or 100)
        for token, logprobs in self.engine.generate(body["inputs"], adapter, count, cold=cold):
            tokens.append(_token(token, logprobs))
            tops.append([_token(int(each), logprobs) for each in np.argsort(-logprobs)[:wanted]])
            await asyncio.sleep(0)  # requests of several adapters are decoded together
        details: dict[str, Any] = {
            "finish_reason": "length",
            "generated_tokens": len(tokens),
            "seed": None,
            "prefill": [{"id": 256, "text": "<s>", "logprob": None}] if cold else [],
            "tokens": tokens,
            "top_tokens": tops,
        }
        answer: dict[str, Any] = {"generated_text": "".join(token["text"] for token in tokens)}
        return web.json_response(answer | ({"details": details} if parameters.get("details") else {}))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        model = body.get("model")
        self.asked.append(("/v1/chat/completions", model))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        pieces = list(self._said(body))
        for at, piece in enumerate(pieces):
            choice = {
                "index": 0,
                "delta": {"role": "assistant", "content": piece},
                "finish_reason": "length" if at == len(pieces) - 1 else None,
            }
            await self._line(response, model, [choice], None)
        usage = {"prompt_tokens": 7, "completion_tokens": len(pieces), "total_tokens": 7 + len(pieces)}
        await self._line(response, model, [], usage)
        await response.write(b"data: [DONE]\n\n")
        return response

    def _said(self, body: dict[str, Any]) -> Iterator[str]:
        text = "\n".join(str(message["content"]) for message in body["messages"])
        adapter = None if body.get("model") in (None, "tgi") else body["model"]
        for token, _ in self.engine.generate(text, adapter, int(body.get("max_tokens") or 8)):
            yield chr(token)

    async def _line(
        self, response: web.StreamResponse, model: object, choices: list[dict[str, Any]], usage: object
    ) -> None:
        chunk = {"object": "chat.completion.chunk", "id": "", "created": 0, "model": model}
        line = json.dumps({**chunk, "choices": choices, "usage": usage})
        await response.write(f"data: {line}\n\n".encode())


def _token(token: int, logprobs: Array) -> dict[str, Any]:
    return {"id": token, "text": chr(token), "logprob": float(logprobs[token]), "special": False}
