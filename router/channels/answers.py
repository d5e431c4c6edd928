"""What every route that answers shares: from an Ask to a response, the decision in headers and in `agoge`.

Knows no route's form: a `Form` writes the answer, whole or in pieces.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastapi import Request
from starlette.responses import Response

from router.channels.json_body import written
from router.channels.sse import EventStream
from router.channels.wire import decision_headers, decision_object, header_text, unless_gone
from router.core.errors import BadRequest, Refused, Stopping
from router.core.reply import Delta, Finish, Usage
from router.service import Ask, Routed, Router
from router.stream import Reply, Stream


class Form(Protocol):
    """How one route writes an answer."""

    def pieces(self, routed: Routed, reply: Reply) -> AsyncGenerator[bytes, None]:
        """Yield server-sent events. A failure becomes an event too: the status is out already."""
        ...

    async def whole(self, routed: Routed, reply: Reply) -> Mapping[str, Any]:
        """Return the whole answer. Raises Refused when the engine fails."""
        ...


async def answer(request: Request, router: Router, ask: Ask, form: Form, *, stream: bool) -> Response:
    """Answer `ask` in `form`. The engine is freed however this ends. Raises Refused and ClientGone."""
    routed, reply = await unless_gone(request, router.answer(ask), _drop)
    try:
        headers = {**decision_headers(routed), "x-agoge-backend": header_text(reply.backend)}
        if reply.stand_in:  # a stand-in has no adapters: saying otherwise would be a lie
            headers["x-agoge-stand-in"] = "true"
            headers["x-agoge-adapters"] = headers["x-agoge-blend"] = ""
        if stream:
            return EventStream(form.pieces(routed, reply), reply.events.aclose, headers, lambda: _stop(reply))
        whole = await unless_gone(request, form.whole(routed, reply))
        return Response(written(whole), headers=headers, media_type="application/json")
    except BaseException:
        await reply.events.aclose()
        raise


def _stop(reply: Reply) -> None:
    if isinstance(reply.events, Stream):  # a confirmation waits for nobody
        reply.events.interrupt(Stopping())


async def _drop(answer: tuple[Routed, Reply]) -> None:
    await answer[1].events.aclose()


def told(routed: Routed, reply: Reply) -> dict[str, Any]:
    """Return the additive field `agoge` of an answer."""
    said = decision_object(routed.taken) | {"backend": reply.backend, "stand_in": reply.stand_in}
    return said | {"adapters": {}, "blend": ""} if reply.stand_in else said


def read_stream(body: Mapping[str, Any]) -> tuple[bool, bool]:
    """Return `stream`, and whether `stream_options` asks for the usage. Raises BadRequest."""
    stream, options = body.get("stream") or False, body.get("stream_options") or {}
    if not isinstance(stream, bool):
        raise BadRequest("stream must be true or false", param="stream")
    if not isinstance(options, dict):
        raise BadRequest("stream_options must be an object", param="stream_options")
    if options and not stream:
        raise BadRequest("stream_options is only allowed when stream is true", param="stream_options")
    return stream, options.get("include_usage") is True


@contextmanager
def blaming(param: str) -> Iterator[None]:
    """Let a refusal of the messages name the parameter that holds them on this route."""
    try:
        yield
    except Refused as error:
        if error.param == "messages":
            error.param = param
        raise


def data(body: Mapping[str, Any]) -> bytes:
    """Return one server-sent event without a name."""
    return b"data: " + written(body) + b"\n\n"


def counted(usage: Usage | None) -> dict[str, int]:
    """Return token counts by the names of chat and legacy completions."""
    prompt, completion = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


@dataclass(slots=True)
class Collected:
    """A stream to its end: the text, the tool calls in OpenAI's whole form, how it ended, what it cost."""

    text: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish: str = "stop"
    usage: Usage | None = None


async def collect(reply: Reply) -> Collected:
    """Collect the stream. Raises Refused when the engine fails on the way."""
    found, text = Collected(), list[str]()
    calls: dict[int, dict[str, Any]] = {}
    async for event in reply.events:
        match event:
            case Delta(content=content, tool_calls=pieces):
                text.append(content)
                for piece in pieces or ():
                    _join_call(calls, piece)
            case Finish(reason=reason):
                found.finish = reason
            case Usage():
                found.usage = event
    found.text, found.calls = "".join(text), [calls[index] for index in sorted(calls)]
    return found


def _join_call(calls: dict[int, dict[str, Any]], piece: Mapping[str, Any]) -> None:
    """Add one streamed piece of a tool call: id, type and name come once, arguments come in pieces."""
    call = calls.setdefault(piece.get("index", 0), {"id": None, "type": "function", "function": {}})
    call["id"] = piece.get("id") or call["id"]
    function = piece.get("function") or {}
    if function.get("name"):
        call["function"]["name"] = function["name"]
    arguments = argument_text(function)
    if arguments is not None:
        call["function"]["arguments"] = call["function"].get("arguments", "") + arguments


def argument_text(function: Mapping[str, Any]) -> str | None:
    """Return a piece of a call's arguments as text: TGI sends an object where OpenAI sends text."""
    arguments = function.get("arguments")
    if arguments is None or isinstance(arguments, str):
        return arguments
    return json.dumps(arguments, ensure_ascii=False)
