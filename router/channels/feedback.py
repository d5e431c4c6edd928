"""POST /v1/feedback: what a person thought of a decision. Kept durably or refused, never in between.

Knows no store. The prompt is kept only where the caller sends it along as `text`.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from router.channels.decisions import forgotten
from router.channels.openapi import FEEDBACK_BODY, FEEDBACK_RESPONSES, SHOWN_KEY
from router.channels.wire import Identify, bearer, read_body
from router.core.errors import BadRequest, Refused
from router.core.outcome import Verdict
from router.ports import OutcomesUnavailable
from router.service import Router

VERDICTS: dict[str, Verdict] = {"right": "right", "wrong": "wrong", "up": "right", "down": "wrong"}
LONGEST_TEXT = 20_000  # characters

_log = logging.getLogger(__name__)


def feedback_routes(router: Router, identify: Identify) -> APIRouter:
    """Return the route of this channel."""
    routes = APIRouter(prefix="/v1", tags=["Feedback"], dependencies=[Depends(SHOWN_KEY)])

    @routes.post(
        "/feedback",
        operation_id="giveFeedback",
        summary="Say whether a decision was right",
        status_code=201,
        response_model=None,
        responses=FEEDBACK_RESPONSES,
        openapi_extra=FEEDBACK_BODY,
    )
    async def feedback(request: Request) -> JSONResponse:
        caller = identify(bearer(request))
        body = await read_body(request)
        id, label, text = (_text(body, name) for name in ("decision_id", "label", "text"))
        verdict = body.get("verdict")
        if not isinstance(verdict, str) or verdict not in VERDICTS:
            raise BadRequest(
                f"verdict must be right or wrong (or up or down), not {verdict!r:.80}", param="verdict"
            )
        if id is None:
            raise BadRequest(
                "decision_id is missing; every answer has it as x-agoge-decision-id", param="decision_id"
            )
        if text is not None and len(text) > LONGEST_TEXT:
            raise BadRequest(
                f"text has {len(text)} characters; {LONGEST_TEXT} are allowed: send the telling part", param="text"
            )
        taken = await router.recent.look_up(id, *caller)
        if taken is None:
            raise forgotten(id, "decision_id")
        try:
            # Not given up when the client leaves: a click is often the last thing that a page sends.
            outcome = await router.feedback.judge(taken, VERDICTS[verdict], label, text)
        except OutcomesUnavailable as error:
            _log.warning("feedback was not kept: %s", error)
            raise _not_kept() from None
        return JSONResponse({"object": "agoge.outcome", **asdict(outcome)}, status_code=201)

    return routes


def _not_kept() -> Refused:
    refusal = Refused(
        "the feedback could not be kept, so it was not; try again later (the router's log has the reason)",
        code="outcomes_unavailable",
    )
    refusal.status = 503
    return refusal


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{name} must be text, not {type(value).__name__}", param=name)
    return None if value is None or not value.strip() else value
