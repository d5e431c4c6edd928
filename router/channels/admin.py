"""GET /metrics, /docs and /openapi.json: for operators, so they may be served on a port of their own."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.responses import PlainTextResponse, Response


def metrics_routes(exposition: Callable[[], bytes], content_type: str) -> APIRouter:
    """Return the route of the metrics."""
    routes = APIRouter(tags=["Health"])

    @routes.get("/metrics", summary="Prometheus metrics", response_model=None, response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(exposition(), media_type=content_type)

    return routes


def description_routes(described: FastAPI) -> APIRouter:
    """Return the routes that describe another application."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/openapi.json")
    async def openapi() -> JSONResponse:
        return JSONResponse(described.openapi())

    @routes.get("/docs")
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(openapi_url="openapi.json", title=described.title)

    return routes
