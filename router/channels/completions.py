"""POST /v1/completions, OpenAI's legacy route: one prompt, which is one user message, and one text.

Source: OpenAI API reference, "Create completion". The prompt goes through the chat template as on every other
route: adapters are trained on conversations. What cannot be said of such an answer (echo, logprobs, suffix,
several at once) is refused by name; other parameters are as in chat.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from secrets import token_hex
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from router.channels.answers import answer, blaming, collect, counted, data, read_stream, told
from router.channels.errors import error_object
from router.channels.openai import read_model
from router.channels.openapi import ERRORS, SHOWN_KEY
from router.channels.openapi_responses import COMPLETIONS_BODY, COMPLETIONS_RESPONSES
from router.channels.parameters import read_parameters
from router.channels.request_id import request_id
from router.channels.wire import Identify, caller_of, read_body
from router.core.conversation import Conversation, Message
from router.core.errors import BadRequest, Refused
from router.core.facts import RequestRefused
from router.core.reply import Delta, Finish, Usage
from router.service import Ask, Routed, Router
from router.stream import Reply

PASSED = ("max_tokens", "temperature", "top_p", "frequency_penalty", "presence_penalty", "stop", "seed")


def completion_routes(router: Router, identify: Identify) -> APIRouter:
    """Return the routes of this channel."""
    routes = APIRouter(prefix="/v1", tags=["OpenAI"], dependencies=[Depends(SHOWN_KEY)], responses=ERRORS)

    @routes.post(
        "/completions",
        summary="Legacy completions: one prompt, one text",
        response_model=None,
        responses=COMPLETIONS_RESPONSES,
        openapi_extra=COMPLETIONS_BODY,
    )
    async def completions(request: Request) -> Response:
        tenant, role = caller_of(request, identify)
        body = await read_body(request)
        model = read_model(body)
        stream, usage_wanted = read_stream(body)
        _refuse(body)
        parameters = read_parameters({name: body.get(name) for name in PASSED})
        conversation = Conversation((Message("user", read_prompt(body.get("prompt"))),))
        ask = Ask(conversation, model, parameters, tenant, role, request_id(request))
        with blaming("prompt"):
            form = _Completion(router, model or "auto", usage_wanted)
            return await answer(request, router, ask, form, stream=stream)

    return routes


def read_prompt(raw: object) -> str:
    """Return the one prompt. Raises BadRequest for anything else, several prompts and token ids above all."""
    if isinstance(raw, list) and len(raw) == 1 and isinstance(raw[0], str):
        return raw[0]
    if isinstance(raw, str):
        return raw
    right = "prompt must be text, or a list of exactly one text"
    if isinstance(raw, list) and len(raw) > 1 and all(isinstance(text, str) for text in raw):
        raise BadRequest(f"{right}, not {len(raw)}: send one request per prompt", param="prompt")
    if isinstance(raw, list) and raw:
        raise BadRequest(f"{right}: token ids are not read", param="prompt")
    raise BadRequest(right, param="prompt")


def _refuse(body: Mapping[str, Any]) -> None:
    """Raise BadRequest for what would change the answer's shape in a way that is not served."""
    for name in ("n", "best_of"):
        if body.get(name) not in (None, 1) or body.get(name) is True:
            raise BadRequest(f"{name} must be 1: one prompt gets one answer", param=name)
    if body.get("echo") not in (None, False):
        raise BadRequest("echo is not served; put your prompt before the text yourself", param="echo")
    if body.get("suffix") not in (None, ""):
        raise BadRequest("suffix is not served: nothing is filled in before a text; leave it out", param="suffix")
    if body.get("logprobs") is not None and body["logprobs"] is not False:  # 0 asks for the chosen tokens' own
        raise BadRequest("logprobs are not served; leave the parameter out", param="logprobs")


class _Completion:
    """One answer as a text completion or as its chunks."""

    def __init__(self, router: Router, model: str, usage_wanted: bool) -> None:
        self._router, self._usage_wanted = router, usage_wanted
        self._head = {
            "id": f"cmpl-{token_hex(16)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
        }

    async def pieces(self, routed: Routed, reply: Reply) -> AsyncGenerator[bytes, None]:
        """Yield the answer as SSE blocks: text, finish_reason, usage if asked for, [DONE]."""
        usage: Usage | None = None
        try:
            with blaming("prompt"):
                async for event in reply.events:
                    match event:
                        case Delta(content=content) if content:
                            yield self._block([_choice(content)])
                        case Finish(reason=reason):
                            yield self._block([_choice("", reason)])
                        case Usage():
                            usage = event
            if self._usage_wanted:
                yield self._block([], counted(usage))
        except Refused as error:  # our 200 is out already: OpenAI's clients raise on a top-level `error`
            self._router.record(RequestRefused(error.code, error.status))
            yield data(error_object(error))
        yield b"data: [DONE]\n\n"

    def _block(self, choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
        more: dict[str, object] = {"usage": usage} if self._usage_wanted else {}
        return data({**self._head, "choices": choices, **more})

    async def whole(self, routed: Routed, reply: Reply) -> dict[str, Any]:
        """Return one completion with the additive field `agoge`."""
        found = await collect(reply)
        return {
            **self._head,
            "choices": [_choice(found.text, found.finish)],
            "usage": counted(found.usage),
            "agoge": told(routed, reply),
        }


def _choice(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
