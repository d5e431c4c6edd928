"""POST /v1/decisions: decide and explain, call no engine. GET /v1/decisions/{id}: explain one that was taken.

For Switch nodes, tests and curiosity; a `batch` decides many. The Link header of every answer leads to the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from router.channels.batch import decide_all, read_batch
from router.channels.openai import read_model
from router.channels.openapi import DECISION_BODY, DECISION_RESPONSES, REMEMBERED_RESPONSES, SHOWN_KEY
from router.channels.rate_limits import spend
from router.channels.request_id import request_id
from router.channels.wire import (
    Identify,
    caller_of,
    decision_headers,
    decision_object,
    read_body,
    read_messages,
    unless_gone,
)
from router.core.conversation import Conversation, Message
from router.core.decide import told_of_all
from router.core.decision import Verdict
from router.core.errors import BadRequest
from router.core.explanation import Explanation, explain
from router.core.reading import confirmation
from router.core.scores import Neighbour
from router.recent import KEPT, Taken
from router.service import Ask, Routed, Router

NEIGHBOURS = 5


def decision_routes(router: Router, identify: Identify) -> APIRouter:
    """Return the routes of this channel."""
    routes = APIRouter(prefix="/v1", tags=["Decisions"], dependencies=[Depends(SHOWN_KEY)])

    @routes.post(
        "/decisions",
        summary="Which adapters would speak, and why",
        response_model=None,
        responses=DECISION_RESPONSES,
        openapi_extra=DECISION_BODY,
    )
    async def decisions(request: Request) -> JSONResponse:
        tenant, role = caller_of(request, identify)
        body = await read_body(request)
        if "batch" in body:

            async def one(entry: dict[str, Any]) -> dict[str, Any]:
                named = _as_input(entry)
                ask = Ask(_conversation(named), read_model(named), {}, tenant, role, request_id(request))
                return (await decide_and_explain(router, ask))[0]

            entries = read_batch(body)
            await spend(request, len(entries) - 1)
            decided = await unless_gone(request, decide_all(router, entries, one))
            return JSONResponse({"object": "list", "data": decided})
        ask = Ask(_conversation(body), read_model(body), {}, tenant, role, request_id(request))
        told, headers = await unless_gone(request, decide_and_explain(router, ask, _for_engine(body)))
        return JSONResponse(told, headers=headers)

    @routes.get(
        "/decisions/{id}",
        operation_id="explainDecision",
        summary="Why a recent decision came out as it did",
        response_model=None,
        responses=REMEMBERED_RESPONSES,
    )
    async def decision(request: Request, id: str) -> JSONResponse:
        taken = await router.recent.look_up(id, *caller_of(request, identify))
        if taken is None:
            raise forgotten(id)
        return JSONResponse(decision_told(taken, taken.nearest))

    return routes


def forgotten(id: str, param: str = "id") -> BadRequest:
    """Return the refusal of an id that is not remembered, or not for this caller: nobody can tell which."""
    refusal = BadRequest(
        f"no decision {id!r:.80} is remembered here; each process keeps its last {KEPT}, and a Redis all of the "
        "last hour, for the tenant and role that they were taken for; POST /v1/decisions explains a prompt",
        code="decision_not_found",
        param=param,
    )
    refusal.status = 404
    return refusal


async def decide_and_explain(
    router: Router, ask: Ask, for_engine: bool = False
) -> tuple[dict[str, Any], dict[str, str]]:
    """Decide and return (the decision with everything that explains it, its headers).

    `for_engine` adds what whoever calls the engine in our place needs besides.
    """
    routed = await router.decide(ask)
    near: Sequence[Neighbour] | None = routed.nearest
    if near is None:  # out of the cache, which holds no exemplars
        subject = routed.subject
        near = await router.scorer.nearest(subject, NEIGHBOURS) if subject else ()
    told = decision_told(routed.taken, near)
    return told | {"for_engine": _engine_input(routed)} if for_engine else told, decision_headers(routed)


def _for_engine(body: dict[str, Any]) -> bool:
    wanted = body.get("for_engine")
    if not isinstance(wanted, bool | None):
        raise BadRequest("for_engine must be true or false", param="for_engine")
    return bool(wanted)


def _engine_input(routed: Routed) -> dict[str, Any]:
    """Return the messages without directives, and our own answer where nothing is left to ask an engine."""
    reading = routed.reading
    return {
        "messages": [
            {**(said.extra or {}), "role": said.role, "content": said.content} for said in reading.messages
        ],
        "confirmation": None if reading.confirms is None else confirmation(reading, routed.policy),
    }


def decision_told(taken: Taken, near: Sequence[Neighbour] | None) -> dict[str, Any]:
    """Return a decision with every verdict, its explanation and the nearest exemplars, where they are known."""
    return {
        "object": "agoge.decision",
        **decision_object(taken),
        "verdicts": _verdicts(told_of_all(taken.policy, taken.decision)),
        "explanation": _explanation(explain(taken.decision, taken.policy)),
        "nearest": None if near is None else [_neighbour(each) for each in near[:NEIGHBOURS]],
        "classifier": taken.decision.classifier,
        "tenant": taken.decision.tenant,
        "role": taken.decision.role,
    }


def _explanation(explanation: Explanation) -> dict[str, Any]:
    return {
        "rule": explanation.rule,
        "because": explanation.because,
        "runner_up": None if explanation.runner_up is None else asdict(explanation.runner_up),
        "margins": [asdict(margin) for margin in explanation.margins],
    }


def _neighbour(near: Neighbour) -> dict[str, Any]:
    return {
        "text": near.text,
        "label": near.label,
        "similarity": round(near.similarity, 4),
        "distance": round(near.distance, 4),
    }


def _verdicts(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
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
        for v in verdicts
    ]


def _as_input(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of a batch as the single form has it: `prompt` is `input` there."""
    if "prompt" not in entry:
        return entry
    if "input" in entry:
        raise BadRequest("give either prompt or input, which are the same, not both", param="prompt")
    return {**entry, "input": entry["prompt"]}


def _conversation(body: dict[str, Any]) -> Conversation:
    text, messages = body.get("input"), body.get("messages")
    if (text is None) == (messages is None):
        raise BadRequest("give either input (text) or messages (a list), not both and not neither", param="input")
    if messages is not None:
        return read_messages(messages)
    if not isinstance(text, str):
        raise BadRequest(f"input must be text, not {type(text).__name__}", param="input")
    return Conversation((Message("user", text),))
