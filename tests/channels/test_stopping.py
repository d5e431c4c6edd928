"""A server that stops ends the answers that outlive its grace: each says so, and its engine is free again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.core.facts import Abandoned, BackendAttemptFailed
from tests.stage import staged
from tests.stubs import SpeakingBackend, until

ROUTES = {"/v1/chat/completions": "messages", "/v1/completions": "prompt", "/v1/responses": "input"}


def body(route: str, **more: object) -> dict[str, Any]:
    text: object = [{"role": "user", "content": "hi"}] if ROUTES[route] == "messages" else "hi"
    return {ROUTES[route]: text, **more}


@pytest.mark.parametrize("route", ROUTES)
async def test_a_stream_ends_with_an_error_that_says_so(tmp_path: Path, route: str) -> None:
    engine = SpeakingBackend(hangs_after=1)
    async with (
        staged(tmp_path, backends={"first": engine, "second": SpeakingBackend()}) as stage,
        httpx.AsyncClient(base_url=stage.url, timeout=30) as client,
        client.stream("POST", route, json=body(route, stream=True)) as answer,
    ):
        assert answer.status_code == 200
        lines = answer.aiter_lines()
        async for line in lines:
            if "core" in line:  # the engine's first word
                break
        stage.router.closing.cut()  # as the server does when the grace is over
        said = [json.loads(line[6:]) async for line in lines if line.startswith("data: {")]
        assert engine.open_streams == 0
        assert len(stage.facts.of(Abandoned)) == 1
        assert stage.facts.of(BackendAttemptFailed) == []  # the engine did nothing wrong
    errors = [event.get("error") or event.get("response", {}).get("error") for event in said]
    assert {error["code"] for error in filter(None, errors)} == {"server_stopping"}


@pytest.mark.parametrize("hangs_after", [0, 1])
@pytest.mark.parametrize("route", ROUTES)
async def test_a_whole_answer_becomes_an_error_that_says_so(tmp_path: Path, route: str, hangs_after: int) -> None:
    engine = SpeakingBackend(hangs_after=hangs_after)
    async with (
        staged(tmp_path, backends={"first": engine, "second": SpeakingBackend()}) as stage,
        httpx.AsyncClient(base_url=stage.url, timeout=30) as client,
    ):
        asking = asyncio.create_task(client.post(route, json=body(route)))
        await until(lambda: engine.open_streams == 1)
        stage.router.closing.cut()  # as the server does when the grace is over
        answer = await asking
        assert engine.open_streams == 0
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "server_stopping"
    assert answer.headers["x-should-retry"] == "true"
    assert answer.headers["retry-after"] == "1"
