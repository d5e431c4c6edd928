"""POST /v1/responses, OpenAI's Responses API without its store: every request brings the whole conversation.

The spine is chat's, so are headers, `agoge`, isolation and errors. GET /v1/responses/{id} says that nothing is
kept. Knows neither the items of `input` nor the events of a stream: modules beside it do.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from secrets import token_hex
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from router.channels.answers import answer, blaming, read_stream, told
from router.channels.json_body import written
from router.channels.openai import read_model
from router.channels.openapi import ERRORS, SHOWN_KEY
from router.channels.openapi_responses import RESPONSES_BODY, RESPONSES_RESPONSES
from router.channels.request_id import request_id
from router.channels.responses_answer import Answer, Events
from router.channels.responses_input import WHOLE, read_input
from router.channels.responses_request import read_settings
from router.channels.wire import Identify, caller_of, read_body
from router.core.errors import BadRequest, Refused
from router.core.facts import RequestRefused
from router.service import Ask, Routed, Router
from router.stream import Reply


def response_routes(router: Router, identify: Identify) -> APIRouter:
    """Return the routes of this channel."""
    routes = APIRouter(prefix="/v1", tags=["OpenAI"], dependencies=[Depends(SHOWN_KEY)], responses=ERRORS)

    @routes.post(
        "/responses",
        summary="OpenAI's Responses API, stateless; the adapters are chosen per prompt",
        response_model=None,
        responses=RESPONSES_RESPONSES,
        openapi_extra=RESPONSES_BODY,
    )
    async def responses(request: Request) -> Response:
        tenant, role = caller_of(request, identify)
        body = await read_body(request)
        model = read_model(body)
        stream, _ = read_stream(body)
        parameters, repeated = read_settings(body)
        conversation = read_input(body.get("input"), body.get("instructions"))
        ask = Ask(conversation, model, parameters, tenant, role, request_id(request))
        with blaming("input"):
            form = _Response(router, {"model": model or "auto", **repeated})
            return await answer(request, router, ask, form, stream=stream)

    # One route, so that a 405 tells all three; not shown, because OpenAPI wants an operation for each method.
    @routes.api_route("/responses/{id:path}", methods=["GET", "POST", "DELETE"], include_in_schema=False)
    async def stored(request: Request, id: str) -> Response:
        caller_of(request, identify)
        refusal = BadRequest(
            f"there is no response {id!r:.80}: {WHOLE} of POST /v1/responses; GET /v1/decisions/ID explains a "
            "recent decision",
            code="response_not_found",
            param="id",
        )
        refusal.status = 404
        raise refusal

    return routes


class _Response:
    """One answer as a response or as its typed events."""

    def __init__(self, router: Router, fields: dict[str, Any]) -> None:
        self._router = router
        self._head = {
            "id": f"resp_{token_hex(16)}",
            "object": "response",
            "created_at": int(time.time()),
            **fields,
        }

    def _answer(self, routed: Routed, reply: Reply) -> Answer:
        return Answer({**self._head, "agoge": told(routed, reply)})

    async def pieces(self, routed: Routed, reply: Reply) -> AsyncGenerator[bytes, None]:
        """Yield the events in OpenAI's order; there is no [DONE], as with OpenAI's own."""
        growing = self._answer(routed, reply)
        try:
            yield _blocks(growing.begin())
            with blaming("input"):
                async for event in reply.events:
                    if events := growing.take(event):
                        yield _blocks(events)
            yield _blocks(growing.end())
        except Refused as error:
            self._router.record(RequestRefused(error.code, error.status))
            yield _blocks(growing.fail(error))

    async def whole(self, routed: Routed, reply: Reply) -> dict[str, Any]:
        """Return the response that a stream would have ended with."""
        growing = self._answer(routed, reply)
        async for event in reply.events:
            growing.take(event)
        response: dict[str, Any] = growing.end()[-1]["response"]
        return response


def _blocks(events: Events) -> bytes:
    return b"".join(b"event: %s\ndata: %s\n\n" % (event["type"].encode(), written(event)) for event in events)
