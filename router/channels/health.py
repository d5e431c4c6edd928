"""GET /healthz and /readyz. Health says what is wrong in words a person can act on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from router.ports import Replicated
from router.service import Router, State


def health_routes(router: Router, policy_trouble: Callable[[], str | None]) -> APIRouter:
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
        responses={503: {"description": "Some blend is served by nobody (`unserved` names it), or it stops"}},
    )
    async def readyz() -> JSONResponse:
        missing = unserved(router.state)
        fleet = router.state.fleet
        body = {
            "status": "stopping" if router.closing.draining else "unready" if missing else "ready",
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
        return JSONResponse(body, status_code=200 if body["status"] == "ready" else 503)

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
