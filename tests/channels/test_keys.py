"""API keys: 401 in OpenAI's form on every /v1 route, health and metrics open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.stage import Stage, staged

KEYS = "keys:\n  sk-right: { tenant: default }\n"
ROUTES = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/decisions"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/auto"),
]
BY_ID = [("GET", "/v1/decisions/dec_0"), ("GET", "/v1/responses/resp_0")]
BODY = {"messages": [{"role": "user", "content": "sky"}]}
TAKEN = {"/v1/responses": {"input": "sky"}, "/v1/completions": {"prompt": "sky"}}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, keys=KEYS) as made:
        yield made


@pytest.mark.parametrize(("method", "path"), [*ROUTES, *BY_ID])
@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer sk-wrong", "Basic sk-right", "sk-right", "Bearer sk-right x"]
)
async def test_without_a_known_key_every_route_is_closed(
    stage: Stage, method: str, path: str, header: str | None
) -> None:
    headers = {} if header is None else {"authorization": header}
    async with httpx.AsyncClient(base_url=stage.url, timeout=20, headers=headers) as client:
        answer = await client.request(method, path, json=BODY)
        assert answer.status_code == 401
        assert answer.json()["error"]["type"] == "authentication_error"
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["x-should-retry"] == "false"
        assert "sk-" not in answer.text
        assert stage.scorer.calls == 0


async def test_the_key_is_asked_for_before_the_body_is_read(stage: Stage) -> None:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        assert (await client.post("/v1/chat/completions", content=b"{")).status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_known_key_opens_every_route(stage: Stage, scheme: str) -> None:
    headers = {"authorization": f"{scheme} sk-right"}
    async with httpx.AsyncClient(base_url=stage.url, timeout=20, headers=headers) as client:
        for method, path in ROUTES:
            assert (await client.request(method, path, json=TAKEN.get(path, BODY))).status_code == 200, path


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_health_and_metrics_are_open(stage: Stage, path: str) -> None:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        answer = await client.get(path)
        assert answer.status_code == 200
        assert "sk-right" not in answer.text


async def test_openai_python_raises_its_own_class(stage: Stage) -> None:
    client = openai.AsyncOpenAI(base_url=f"{stage.url}/v1", api_key="sk-wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as caught:
        await client.models.list()
    assert caught.value.code == "invalid_api_key"
