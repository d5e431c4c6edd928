"""POST /v1/decisions: decide and explain, call no engine. For Switch nodes, tests and curiosity."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from router.channels.openai import read_model
from router.channels.openapi import DECISION_BODY, DECISION_RESPONSES, SHOWN_KEY
from router.channels.request_id import request_id
from router.channels.wire import (
    Identify,
    bearer,
    decision_headers,
    decision_object,
    read_body,
    read_messages,
    unless_gone,
)
from router.core.conversation import Conversation, Message
from router.core.errors import BadRequest
from router.service import Ask, Routed, Router

NEIGHBOURS = 5


def decision_routes(router: Router, identify: Identify) -> APIRouter:
    """Return the route of this channel."""
    routes = APIRouter(prefix="/v1", tags=["Decisions"], dependencies=[Depends(SHOWN_KEY)])

    @routes.post(
        "/decisions",
        summary="Which adapters would speak, and why",
        response_model=None,
        responses=DECISION_RESPONSES,
        openapi_extra=DECISION_BODY,
    )
    async def decisions(request: Request) -> JSONResponse:
        tenant, role = identify(bearer(request))
        body = await read_body(request)
        ask = Ask(_conversation(body), read_model(body), {}, tenant, role, request_id(request))
        told, headers = await unless_gone(request, explain(router, ask))
        return JSONResponse(told, headers=headers)

    return routes


async def explain(router: Router, ask: Ask) -> tuple[dict[str, Any], dict[str, str]]:
    """Decide and return (the decision with every verdict and the nearest exemplars, its headers)."""
    routed = await router.decide(ask)
    subject = routed.subject
    near = await router.scorer.nearest(subject, NEIGHBOURS) if subject else ()
    told = {
        "object": "agoge.decision",
        **decision_object(routed),
        "verdicts": _verdicts(routed),
        "nearest": [{"text": n.text, "label": n.label, "similarity": round(n.similarity, 4)} for n in near],
        "classifier": routed.decision.classifier,
        "tenant": routed.decision.tenant,
        "role": routed.decision.role,
    }
    return told, decision_headers(routed)


def _verdicts(routed: Routed) -> list[dict[str, Any]]:
    return [
        {
            "adapter": v.adapter,
            "speaks": v.speaks,
            "reason": v.reason,
            "weight": v.weight,
            "label": v.label,
            "score": v.score,
            "gate": v.gate,
        }
        for v in routed.decision.verdicts
    ]


def _conversation(body: dict[str, Any]) -> Conversation:
    text, messages = body.get("input"), body.get("messages")
    if (text is None) == (messages is None):
        raise BadRequest("give either input (text) or messages (a list), not both and not neither", param="input")
    if messages is not None:
        return read_messages(messages)
    if not isinstance(text, str):
        raise BadRequest(f"input must be text, not {type(text).__name__}", param="input")
    return Conversation((Message("user", text),))
