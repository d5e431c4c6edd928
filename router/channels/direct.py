"""The busy routes, straight from the server to their endpoint; everything else goes through FastAPI.

FastAPI describes these routes too, but between the server and an endpoint that takes the request as it is and
returns the response as it is, its layers only cost time (docs/adr/0011). Knows no endpoint.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]
ROUTE = "agoge.route"  # of the scope: the path, where it is one of ours without parameters
Failed = Callable[[Exception], Response | None]


class Direct:
    """Calls the endpoints of `routers` whose path is fixed; passes everything else on.

    `failed` turns an endpoint's failure into its answer, or returns None for one that it does not know.
    """

    def __init__(self, app: ASGIApp, routers: Iterable[APIRouter], failed: Failed) -> None:
        self._app, self._failed = app, failed
        self.endpoints: dict[tuple[str, str], Endpoint] = {
            (method, route.path): route.endpoint
            for router in routers
            for route in router.routes
            if isinstance(route, APIRoute) and not route.param_convertors
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request here where its method and path are known."""
        endpoint = self.endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        scope[ROUTE] = scope["path"]
        try:
            response = await endpoint(Request(scope, receive))
        except Exception as error:
            answer = self._failed(error)
            if answer is None:
                raise
            response = answer
        await response(scope, receive, send)
