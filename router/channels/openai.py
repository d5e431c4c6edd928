"""POST /v1/chat/completions, as OpenAI's clients rely on it.

Source: OpenAI API reference (chat completions, streaming, errors) and what openai-python does with it.
Unknown parameters are accepted and ignored, as OpenAI-compatible servers must; known ones are checked.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from secrets import token_hex
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from router.channels.answers import answer, collect, counted, data, read_stream, told
from router.channels.errors import error_object
from router.channels.json_body import written
from router.channels.openapi import CHAT_BODY, CHAT_RESPONSES, ERRORS, SHOWN_KEY
from router.channels.parameters import read_parameters
from router.channels.request_id import request_id
from router.channels.wire import Identify, caller_of, read_body, read_messages
from router.core.errors import BadRequest, Refused
from router.core.facts import RequestRefused
from router.core.reply import Delta, Finish, Usage
from router.service import Ask, Routed, Router
from router.stream import Reply

_ROLE, _BETWEEN = b'{"role":"assistant","content":""}', b',"logprobs":null,"finish_reason":'
LONGEST_MODEL = 1000  # characters: every reachable blend's name fits, and an error may repeat it


def chat_routes(router: Router, identify: Identify) -> APIRouter:
    """Return the routes of this channel."""
    routes = APIRouter(prefix="/v1", tags=["OpenAI"], dependencies=[Depends(SHOWN_KEY)], responses=ERRORS)

    @routes.post(
        "/chat/completions",
        summary="Chat; the adapters are chosen per prompt",
        response_model=None,
        responses=CHAT_RESPONSES,
        openapi_extra=CHAT_BODY,
    )
    async def chat(request: Request) -> Response:
        tenant, role = caller_of(request, identify)
        body = await read_body(request)
        model = read_model(body)
        stream, usage_wanted = read_stream(body)
        conversation, parameters = read_messages(body.get("messages")), read_parameters(body)
        ask = Ask(conversation, model, parameters, tenant, role, request_id(request))
        return await answer(request, router, ask, _Chat(router, model or "auto", usage_wanted), stream=stream)

    return routes


def read_model(body: dict[str, Any]) -> str | None:
    """Return the `model` field. Raises BadRequest when it is not text, or too long to be shown to anybody."""
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        raise BadRequest(f"model must be text, not {type(model).__name__}", param="model")
    if model is not None and len(model) > LONGEST_MODEL:
        raise BadRequest(f"model has {len(model)} characters; {LONGEST_MODEL} are allowed", param="model")
    return model


class _Chat:
    """One answer as a completion or as its chunks."""

    def __init__(self, router: Router, model: str, usage_wanted: bool) -> None:
        self._router, self._usage_wanted = router, usage_wanted
        self._head = {"id": f"chatcmpl-{token_hex(16)}", "created": int(time.time()), "model": model}
        # What all chunks share is written once: writing it anew took most of a chunk's time.
        head = written({**self._head, "object": "chat.completion.chunk"})[:-1]
        self._before = b'data: %b,"choices":[{"index":0,"delta":' % head
        self._after = b'}],"usage":null}\n\n' if usage_wanted else b"}]}\n\n"

    async def pieces(self, routed: Routed, reply: Reply) -> AsyncGenerator[bytes, None]:
        """Yield the answer as SSE blocks: role first, deltas, finish_reason, usage if asked for, [DONE]."""
        usage: Usage | None = None
        try:
            yield self._chunk(_ROLE)
            async for event in reply.events:
                match event:
                    case Delta(content=content, tool_calls=calls):
                        if calls:
                            said = {"content": content} if content else {}
                            yield self._chunk(written({**said, "tool_calls": list(calls)}))
                        elif content:  # almost every chunk: a text alone is written four times as fast
                            yield self._chunk(b'{"content":%b}' % written(content))
                    case Finish(reason=reason):
                        yield self._chunk(b"{}", written(reason))
                    case Usage():
                        usage = event
            if self._usage_wanted:
                chunk = {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": counted(usage)}
                yield data(chunk)
            yield b"data: [DONE]\n\n"
        except Refused as error:  # our 200 is out already: OpenAI's clients raise on a top-level `error`
            self._router.record(RequestRefused(error.code, error.status))
            yield data(error_object(error))
            yield b"data: [DONE]\n\n"

    def _chunk(self, delta: bytes, finish: bytes = b"null") -> bytes:
        return b"%b%b%b%b%b" % (self._before, delta, _BETWEEN, finish, self._after)

    async def whole(self, routed: Routed, reply: Reply) -> dict[str, Any]:
        """Return one completion with the additive field `agoge`."""
        found = await collect(reply)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": found.text or (None if found.calls else ""),
            "refusal": None,
        }
        if found.calls:
            message["tool_calls"] = found.calls
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": found.finish}],
            "usage": counted(found.usage),
            "agoge": told(routed, reply),
        }
