"""POST /v1/chat/completions and GET /v1/models, as OpenAI's clients rely on them.

Source: OpenAI API reference (chat completions, streaming, errors) and what openai-python does with it.
Unknown parameters are accepted and ignored, as OpenAI-compatible servers must; known ones are checked.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from router.channels.errors import error_object
from router.channels.json_body import written
from router.channels.openapi import CHAT_BODY, CHAT_RESPONSES, ERRORS, SHOWN_KEY
from router.channels.parameters import read_parameters
from router.channels.request_id import request_id
from router.channels.sse import EventStream
from router.channels.wire import (
    Identify,
    bearer,
    decision_headers,
    decision_object,
    header_text,
    read_body,
    read_messages,
    unless_gone,
)
from router.core.errors import BadRequest, Refused
from router.core.facts import RequestRefused
from router.core.offers import offers
from router.core.reply import Delta, Finish, Usage
from router.service import Ask, Routed, Router
from router.stream import Reply

OWNER = "agoge"
LONGEST_MODEL = 1000  # characters: every reachable blend's name fits, and an error may repeat it


def chat_routes(router: Router, identify: Identify) -> APIRouter:
    """Return the routes of this channel."""
    routes = APIRouter(prefix="/v1", tags=["OpenAI"], dependencies=[Depends(SHOWN_KEY)], responses=ERRORS)
    born = int(time.time())

    def offered(request: Request) -> tuple[str, ...]:
        state, caller = router.state, identify(bearer(request))
        return offers(state.policies.profile(*caller), state.closure[caller])

    @routes.post(
        "/chat/completions",
        summary="Chat; the adapters are chosen per prompt",
        response_model=None,
        responses=CHAT_RESPONSES,
        openapi_extra=CHAT_BODY,
    )
    async def chat(request: Request) -> Response:
        tenant, role = identify(bearer(request))
        body = await read_body(request)
        model = read_model(body)
        stream, usage_wanted = _read_stream(body)
        conversation, parameters = read_messages(body.get("messages")), read_parameters(body)
        ask = Ask(conversation, model, parameters, tenant, role, request_id(request))
        routed, reply = await unless_gone(request, router.answer(ask), _drop)
        try:
            headers = {**decision_headers(routed), "x-agoge-backend": header_text(reply.backend)}
            if reply.stand_in:  # a stand-in has no adapters: saying otherwise would be a lie
                headers["x-agoge-stand-in"] = "true"
                headers["x-agoge-adapters"] = headers["x-agoge-blend"] = ""
            head = _Head(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), model or "auto")
            if stream:
                return EventStream(_chunks(router, head, reply, usage_wanted), reply.events.aclose, headers)
            whole = await unless_gone(request, _collect(head, routed, reply))
            return Response(written(whole), headers=headers, media_type="application/json")
        except BaseException:
            await reply.events.aclose()
            raise

    @routes.get("/models", summary="What `model` may be: auto, each mode, each blend the caller can reach")
    async def models(request: Request) -> dict[str, Any]:
        return {"object": "list", "data": [_model(name, born) for name in offered(request)]}

    @routes.get("/models/{name:path}", summary="One model")
    async def model(request: Request, name: str) -> dict[str, Any]:
        known = offered(request)
        if name not in known:
            refusal = BadRequest(
                f"the model {name!r} does not exist; available: {', '.join(known)}",
                code="model_not_found",
                param="model",
            )
            refusal.status = 404
            raise refusal
        return _model(name, born)

    return routes


def _model(name: str, born: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": born, "owned_by": OWNER}


def read_model(body: dict[str, Any]) -> str | None:
    """Return the `model` field. Raises BadRequest when it is not text, or too long to be shown to anybody."""
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        raise BadRequest(f"model must be text, not {type(model).__name__}", param="model")
    if model is not None and len(model) > LONGEST_MODEL:
        raise BadRequest(f"model has {len(model)} characters; {LONGEST_MODEL} are allowed", param="model")
    return model


def _read_stream(body: dict[str, Any]) -> tuple[bool, bool]:
    stream, options = body.get("stream") or False, body.get("stream_options") or {}
    if not isinstance(stream, bool):
        raise BadRequest("stream must be true or false", param="stream")
    if not isinstance(options, dict):
        raise BadRequest("stream_options must be an object", param="stream_options")
    if options and not stream:
        raise BadRequest("stream_options is only allowed when stream is true", param="stream_options")
    return stream, options.get("include_usage") is True


async def _drop(answer: tuple[Routed, Reply]) -> None:
    await answer[1].events.aclose()


class _Head:
    """What every chunk of one answer repeats."""

    def __init__(self, answer_id: str, created: int, model: str) -> None:
        self.id, self.created, self.model = answer_id, created, model

    def body(self, kind: str, choices: list[dict[str, Any]], **more: object) -> dict[str, Any]:
        """Return a chunk or a completion with `choices`."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
            **more,
        }


async def _chunks(router: Router, head: _Head, reply: Reply, usage_wanted: bool) -> AsyncGenerator[bytes, None]:
    """Yield the answer as SSE blocks: role first, deltas, finish_reason, usage if asked for, [DONE]."""

    def block(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
        more: dict[str, object] = {"usage": usage} if usage_wanted else {}
        return _data(head.body("chat.completion.chunk", choices, **more))

    def choice(delta: dict[str, Any], finish: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]

    usage: Usage | None = None
    try:
        yield block(choice({"role": "assistant", "content": ""}))
        async for event in reply.events:
            match event:
                case Delta(content=content, tool_calls=calls):
                    delta: dict[str, Any] = {"content": content} if content else {}
                    if calls:
                        delta["tool_calls"] = list(calls)
                    if delta:
                        yield block(choice(delta))
                case Finish(reason=reason):
                    yield block(choice({}, reason))
                case Usage():
                    usage = event
        if usage_wanted:
            yield block([], _usage(usage))
        yield b"data: [DONE]\n\n"
    except Refused as error:  # our 200 is out already: OpenAI's clients raise on a top-level `error`
        router.record(RequestRefused(error.code, error.status))
        yield _data(error_object(error))
        yield b"data: [DONE]\n\n"


def _data(body: dict[str, Any]) -> bytes:
    return b"data: " + written(body) + b"\n\n"


def _usage(usage: Usage | None) -> dict[str, int]:
    prompt, completion = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


async def _collect(head: _Head, routed: Routed, reply: Reply) -> dict[str, Any]:
    """Collect the stream into one completion with the additive field `agoge`."""
    text: list[str] = []
    calls: dict[int, dict[str, Any]] = {}
    finish, usage = "stop", None
    async for event in reply.events:
        match event:
            case Delta(content=content, tool_calls=pieces):
                text.append(content)
                for piece in pieces or ():
                    _join_call(calls, piece)
            case Finish(reason=reason):
                finish = reason
            case Usage():
                usage = event
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(text) or (None if calls else ""),
        "refusal": None,
    }
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    told = decision_object(routed.taken) | {"backend": reply.backend, "stand_in": reply.stand_in}
    if reply.stand_in:
        told |= {"adapters": {}, "blend": ""}
    return head.body("chat.completion", [choice], usage=_usage(usage), agoge=told)


def _join_call(calls: dict[int, dict[str, Any]], piece: Any) -> None:
    """Add one streamed piece of a tool call: id, type and name come once, arguments come in pieces."""
    call = calls.setdefault(piece.get("index", 0), {"id": None, "type": "function", "function": {}})
    call["id"] = piece.get("id") or call["id"]
    function = piece.get("function") or {}
    if function.get("name"):
        call["function"]["name"] = function["name"]
    arguments = function.get("arguments")
    if arguments is not None:
        if not isinstance(arguments, str):  # TGI sends an object where OpenAI sends text
            arguments = json.dumps(arguments, ensure_ascii=False)
        call["function"]["arguments"] = call["function"].get("arguments", "") + arguments
