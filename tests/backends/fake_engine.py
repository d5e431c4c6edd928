"""What the fakes of vLLM and SGLang share: OpenAI's routes as far as the wire shows them. Knows no router code.

Who speaks for which `model`, and what a refusal looks like, is each fake's own. Every request is recorded, also
whether the caller hung up. An answer names its speaker, so that the base cannot pass for anybody else.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

BASE_SPEAKS = "BASE"
PROMPT = [("Why", -4.0), (" is", -1.0), (" it", -2.0)]
"""The tokens of every raw prompt, as an engine echoes them: the first has no probability."""


@dataclass
class Seen:
    """One request as the server saw it. `ended` is set when its handler is over."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    disconnected: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Refusal(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int, body: object) -> None:
        self.status, self.body = status, body


@dataclass
class FakeEngine:
    """`async with FakeVllm(adapters={...}) as fake:` serves at `fake.url`. Every field may be changed meanwhile.

    `adapters` is name -> path of what is loaded. `fault`: "die" (cut mid-stream), "die first" (cut before the
    first event), "event" (the error `event`, with its code, before piece `event_at`), "500", "503", "401", ...
    Delays are in seconds.
    """

    adapters: dict[str, str] = field(default_factory=dict)
    base: str = "base-model"
    fault: str = ""
    event: tuple[int, str] = (500, "EngineCore died")
    event_at: int = 1
    first_delay: float = 0.0
    words: int = 3
    seen: list[Seen] = field(default_factory=list)
    running: int = 0
    url: str = ""
    port: int = 0

    async def __aenter__(self) -> Self:
        """Start on a free loopback port, or on `port` again."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._handled(self._chat))
        app.router.add_post("/v1/completions", self._handled(self._complete))
        app.router.add_get("/v1/models", self._models)
        self._routes(app)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, cutting what is still open."""
        await self._runner.cleanup()

    @property
    def models_asked(self) -> list[object]:
        """The `model` of every request, in order; None where a request named none."""
        return [seen.body.get("model") for seen in self.seen if "lora_name" not in seen.body]

    # What each engine does in its own way.

    def _routes(self, app: web.Application) -> None: ...

    def _speaker(self, body: Mapping[str, Any]) -> tuple[str, str]:
        """Return who answers, and what the answer says in `model`. Raises Refusal."""
        raise NotImplementedError

    def _error(self, status: int, kind: str, message: str, param: str | None = None) -> object:
        """Return an error body as this engine writes it."""
        raise NotImplementedError

    def refuse(self, status: int, kind: str, message: str, param: str | None = None) -> Refusal:
        """Return the refusal with this engine's body."""
        return Refusal(status, self._error(status, kind, message, param))

    def _card(self, name: str, root: str, parent: str | None) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 0, "owned_by": "fake", "root": root, "parent": parent}

    async def _models(self, _: web.Request) -> web.Response:
        cards = [self._card(self.base, "/models/base", None)]
        cards += [self._card(name, path, self.base) for name, path in self.adapters.items()]
        return web.json_response({"object": "list", "data": cards})

    def _handled(self, handle: Any) -> Any:
        async def handled(request: web.Request) -> web.StreamResponse:
            headers = {name.lower(): value for name, value in request.headers.items()}
            seen = Seen(request.path, headers, await request.json())
            self.seen.append(seen)
            self.running += 1
            try:
                if self.fault.isdigit():
                    status = int(self.fault)
                    raise self.refuse(status, "InternalServerError", f"failed with {status}")
                answer: web.StreamResponse = await handle(request, seen)
                return answer
            except Refusal as refusal:
                return web.json_response(refusal.body, status=refusal.status)
            except (asyncio.CancelledError, ConnectionResetError):
                seen.disconnected = True
                raise
            finally:
                self.running -= 1
                seen.ended.set()

        return handled

    async def _chat(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        speaker, model = self._speaker(seen.body)
        pieces = [f"{speaker} says", *(f" word{number}" for number in range(self.words))]
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": model}
        if not seen.body.get("stream"):
            message = {"role": "assistant", "content": "".join(pieces)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response({**head, "object": "chat.completion", "choices": [choice]})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        if self.fault == "die first":
            return self._cut(request, response)
        await asyncio.sleep(self.first_delay)

        async def say(chunk: object) -> None:
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())

        role = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        await say({**head, "choices": [role]})
        for number, piece in enumerate(pieces):
            if number == self.event_at and self.fault:
                await asyncio.sleep(0.05)  # keeps the first delta and the fault apart
                if self.fault == "die":
                    return self._cut(request, response)
                code, message = self.event
                await say({"error": {"message": message, "type": "AnError", "param": None, "code": code}})
                return response
            await say({**head, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
        await say({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if (seen.body.get("stream_options") or {}).get("include_usage"):
            count = {"prompt_tokens": 7, "completion_tokens": len(pieces), "total_tokens": 7 + len(pieces)}
            await say({**head, "choices": [], "usage": count})
        await response.write(b"data: [DONE]\n\n")
        return response

    def _cut(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.close()
        return response

    async def _complete(self, _: web.Request, seen: Seen) -> web.StreamResponse:
        speaker, model = self._speaker(seen.body)
        count = seen.body["max_tokens"]
        tops = [
            {f" {speaker}{place}.{rank}": math.log((6 - rank) / 30) for rank in range(seen.body["logprobs"])}
            for place in range(count)
        ]
        tokens, logprobs = [next(iter(top)) for top in tops], [next(iter(top.values())) for top in tops]
        top_logprobs: list[Any] = [*tops]
        if seen.body.get("echo"):
            tokens = [text for text, _ in PROMPT] + tokens
            logprobs = [None, *(logprob for _, logprob in PROMPT[1:]), *logprobs]  # type: ignore[list-item]
            top_logprobs = [None, *({text: logprob} for text, logprob in PROMPT[1:]), *top_logprobs]
        choice = {
            "index": 0,
            "text": "".join(tokens),
            "finish_reason": "length",
            "logprobs": {
                "tokens": tokens,
                "token_logprobs": logprobs,
                "top_logprobs": top_logprobs,
                "text_offset": [0] * len(tokens),
            },
        }
        usage = {"prompt_tokens": len(PROMPT), "completion_tokens": count, "total_tokens": len(PROMPT) + count}
        return web.json_response(
            {"id": "cmpl-1", "object": "text_completion", "model": model, "choices": [choice], "usage": usage}
        )
