"""The busy routes past FastAPI's layers: nothing that those would have done is missed."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from router.channels.direct import Direct
from tests.stage import staged


def routes() -> APIRouter:
    made = APIRouter()

    @made.post("/busy")
    async def busy(request: Request) -> Response:
        if request.headers.get("fails") == "known":
            raise LookupError("known")
        if request.headers.get("fails") == "unknown":
            raise ZeroDivisionError("unknown")
        return PlainTextResponse("direct")

    @made.get("/busy/{id}")
    async def one(request: Request, id: str) -> Response:
        raise AssertionError("a path with a parameter is FastAPI's")

    return made


async def others(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("fastapi")(scope, receive, send)


async def asked(method: str, path: str, **headers: str) -> tuple[int, bytes]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "headers": raw}
    direct = Direct(
        others, [routes()], lambda error: Response(status_code=418) if isinstance(error, LookupError) else None
    )
    await direct(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


async def test_only_the_exact_method_and_path_go_direct() -> None:
    assert await asked("POST", "/busy") == (200, b"direct")
    for method, path in (("GET", "/busy"), ("POST", "/busy/"), ("GET", "/busy/7"), ("POST", "/other")):
        assert await asked(method, path) == (200, b"fastapi")


async def test_known_failures_are_answered_and_others_go_on() -> None:
    assert await asked("POST", "/busy", fails="known") == (418, b"")
    with pytest.raises(ZeroDivisionError):
        await asked("POST", "/busy", fails="unknown")


async def test_every_busy_route_takes_the_request_and_nothing_that_fastapi_would_inject(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        layer = next(each for each in stage.app.user_middleware if each.cls is Direct)
        endpoints = Direct(others, layer.kwargs["routers"], layer.kwargs["failed"]).endpoints
        assert {path for _, path in endpoints} == {
            "/v1/chat/completions",
            "/v1/responses",
            "/v1/completions",
            "/v1/decisions",
        }
        for endpoint in endpoints.values():
            assert list(inspect.signature(endpoint).parameters) == ["request"]
        async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
            wrong = await client.get("/v1/chat/completions")
            described = (await client.get("/openapi.json")).json()["paths"]
        assert wrong.status_code == 405
        assert wrong.headers["allow"] == "POST"
        assert {path for _, path in endpoints} <= set(described)
