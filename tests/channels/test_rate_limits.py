"""Requests per minute over HTTP: what a limited caller is told, and that nobody else notices."""

from __future__ import annotations

from pathlib import Path

import httpx
import openai
import pytest

from router.channels.rate_limits import duration
from router.core.facts import RequestRefused
from tests.stage import staged
from tests.stubs import KEYS, TENANTS

LIMITED = TENANTS.replace("{ compose: { at_most: 1 } }", "{ compose: { at_most: 1 }, limits: { per_minute: 3 } }")
BODY = {"messages": [{"role": "user", "content": "sky"}]}
NAMES = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")


def key(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0ms"), (0.0123, "13ms"), (1.0, "1s"), (6.48, "6.5s"), (60.0, "1m0s"), (90.0, "1m30s")],
)
def test_a_time_is_written_as_openai_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


async def test_a_limited_tenant_hears_what_is_left_and_then_when_to_come_back(tmp_path: Path) -> None:
    async with staged(tmp_path, policy=LIMITED, keys=KEYS) as stage, httpx.AsyncClient() as client:
        url = f"{stage.url}/v1/chat/completions"
        for left in (2, 1):
            answer = await client.post(url, json=BODY, headers=key("sk-clinic"))
            assert answer.status_code == 200
            assert [answer.headers[name] for name in NAMES[:2]] == ["3", str(left)]
            assert answer.headers[NAMES[2]].endswith("s")
        wrong = await client.post(url, json={}, headers=key("sk-clinic"))
        assert (wrong.status_code, wrong.headers[NAMES[1]]) == (400, "0")
        refused = await client.post(url, json=BODY, headers=key("sk-clinic"))
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert refused.headers[NAMES[1]] == "0"
        assert 1 <= int(refused.headers["retry-after"]) <= 20
        assert refused.headers["x-request-id"]
        assert stage.facts.of(RequestRefused)[-1] == RequestRefused("rate_limit_exceeded", 429)
        official = openai.AsyncOpenAI(base_url=f"{stage.url}/v1", api_key="sk-clinic", max_retries=0)
        with pytest.raises(openai.RateLimitError):
            await official.chat.completions.create(model="auto", messages=[{"role": "user", "content": "sky"}])
        assert len(stage.backends["first"].prompts) == 2


async def test_others_and_cheap_routes_are_not_counted(tmp_path: Path) -> None:
    async with staged(tmp_path, policy=LIMITED, keys=KEYS) as stage, httpx.AsyncClient() as client:
        for _ in range(5):
            answer = await client.post(f"{stage.url}/v1/chat/completions", json=BODY, headers=key("sk-plain"))
            assert answer.status_code == 200
            assert not any(name in answer.headers for name in NAMES)
            assert (await client.get(f"{stage.url}/v1/models", headers=key("sk-clinic"))).status_code == 200
            unknown = await client.post(f"{stage.url}/v1/chat/completions", json=BODY, headers=key("sk-none"))
            assert unknown.status_code == 401


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", BODY | {"stream": True}),
        ("responses", {"input": "sky"}),
        ("completions", {"prompt": "sky"}),
        ("decisions", {"input": "sky"}),
    ],
)
async def test_every_route_that_makes_work_is_counted(tmp_path: Path, path: str, body: dict[str, object]) -> None:
    async with staged(tmp_path, policy=LIMITED, keys=KEYS) as stage, httpx.AsyncClient() as client:
        seen = [await client.post(f"{stage.url}/v1/{path}", json=body, headers=key("sk-clinic")) for _ in range(4)]
        assert [answer.status_code for answer in seen] == [200, 200, 200, 429]


async def test_a_batch_counts_as_many_as_it_holds(tmp_path: Path) -> None:
    async with staged(tmp_path, policy=LIMITED, keys=KEYS) as stage, httpx.AsyncClient() as client:
        url, headers = f"{stage.url}/v1/decisions", key("sk-clinic")
        two = await client.post(url, json={"batch": [{"prompt": "sky"}] * 2}, headers=headers)
        assert (two.status_code, two.headers[NAMES[1]]) == (200, "1")
        three = await client.post(url, json={"batch": [{"prompt": "sky"}] * 3}, headers=headers)
        assert three.status_code == 429
        assert "retry-after" in three.headers
        assert stage.scorer.calls <= 2
