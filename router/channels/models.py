"""GET /v1/models and GET /v1/models/{id}: what `model` may be, so that any client's picker is the expert switch.

Knows the caller's profile and its closure, no engine: what nobody serves right now is refused when it is asked.
"""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Depends, Request

from router.channels.openapi import MODEL_RESPONSES, MODELS_RESPONSES, SHOWN_KEY
from router.channels.wire import Identify, bearer
from router.core.blend import Blend
from router.core.decide import decide
from router.core.errors import BadRequest
from router.core.offers import AUTO, offers
from router.core.reading import asked_by_model
from router.core.scores import NOTHING_SCORED
from router.service import Router

OWNER = "agoge"


def model_routes(router: Router, identify: Identify) -> APIRouter:
    """Return the routes of this channel."""
    routes = APIRouter(prefix="/v1", tags=["OpenAI"], dependencies=[Depends(SHOWN_KEY)])
    born = int(time.time())

    @routes.get(
        "/models",
        summary="What `model` may be: auto, each mode, each blend the caller can reach",
        response_model=None,
        responses=MODELS_RESPONSES,
    )
    async def models(request: Request) -> dict[str, Any]:
        state, caller = router.state, identify(bearer(request))
        policy, closure = state.policies.profile(*caller), state.closure[caller]
        members, always = {frozenset(blend.weights): blend for blend in closure}, policy.always()
        blends: dict[str, Blend | None] = {AUTO: None}
        for name in policy.askable():  # there may be thousands: their blends are looked up, not decided anew
            blends[name] = members[frozenset((name,)) if policy.adapter(name).alone else always | {name}]
        blends |= {"+".join(blend.weights): blend for blend in closure if len(blend.members) > 1}
        listed = [_model(name, blends[name], born) for name in offers(policy, closure)]
        return {"object": "list", "data": listed}

    @routes.get(
        "/models/{name:path}",
        operation_id="getModel",
        summary="One model; any name that `model` takes, listed or not",
        response_model=None,
        responses=MODEL_RESPONSES,
    )
    async def model(request: Request, name: str) -> dict[str, Any]:
        state, caller = router.state, identify(bearer(request))
        policy, modes = state.policies.profile(*caller), state.modes[caller]
        if not name.strip():
            refusal = BadRequest(f"no model is named; {modes.listing()}", code="model_not_found", param="model")
            refusal.status = 404
            raise refusal
        asked = asked_by_model(name, modes)
        return _model(name, None if asked is None else decide(policy, NOTHING_SCORED, asked).blend, born)

    return routes


def _model(name: str, blend: Blend | None, born: int) -> dict[str, Any]:
    """Return OpenAI's model object with the additive field `agoge`: who speaks; null where the prompt decides."""
    speaks = None if blend is None else {"adapters": blend.weights, "alone": blend.alone, "blend": blend.id}
    return {"id": name, "object": "model", "created": born, "owned_by": OWNER, "agoge": speaks}
