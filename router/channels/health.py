"""GET /healthz, /readyz and /metrics. Health says what is wrong in words a person can act on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.responses import PlainTextResponse, Response

from router.ports import Replicated
from router.service import Router, State


def health_routes(
    router: Router, policy_trouble: Callable[[], str | None], exposition: Callable[[], bytes], content_type: str
) -> APIRouter:
    """Return the routes. `policy_trouble` says why the policy file on disk is not in force, or None."""
    routes = APIRouter(tags=["Health"])

    def about() -> dict[str, Any]:
        trouble = policy_trouble()
        return {
            "policy": router.state.policies.revision,
            "policy_stale": trouble is not None,
            "policy_error": trouble,
        }

    @routes.get("/healthz", summary="The process is alive")
    async def healthz() -> dict[str, Any]:
        return {"status": "ok", **about()}

    @routes.get(
        "/readyz",
        summary="Every blend the policy can reach is served by some backend",
        response_model=None,
        responses={503: {"description": "Some blend is served by nobody; `unserved` names it"}},
    )
    async def readyz() -> JSONResponse:
        missing = unserved(router.state)
        fleet = router.state.fleet
        body = {
            "status": "unready" if missing else "ready",
            **about(),
            "backends": {
                name: "up" if name in fleet.inventories else fleet.troubles.get(name, "not seen yet")
                for name in fleet.backends
            },
            "replicas": {
                name: states
                for name, backend in fleet.backends.items()
                if isinstance(backend, Replicated) and len(states := backend.states()) > 1
            },
            "withdrawn": {
                name: dict(held.withdrawn) for name, held in fleet.inventories.items() if held.withdrawn
            },
            "unserved": missing,
        }
        return JSONResponse(body, status_code=503 if missing else 200)

    @routes.get("/metrics", summary="Prometheus metrics", response_model=None, response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(exposition(), media_type=content_type)

    return routes


def unserved(state: State) -> list[str]:
    """Return `tenant[/role]: blend` for each reachable blend that no live backend of its profile serves."""
    inventories = state.fleet.inventories
    return [
        f"{tenant}{f'/{role}' if role else ''}: {blend.id}"
        for (tenant, role), policy in state.policies.profiles.items()
        for blend in state.closure[tenant, role]
        if not any(name in inventories and inventories[name].serves(blend) for name in policy.backends)
    ]
