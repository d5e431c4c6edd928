"""x-request-id on every answer, errors and streams included: the client's own, or one of ours."""

from __future__ import annotations

import logging
from pathlib import Path

import httpx
import openai
import pytest

from router.core.facts import Decided
from tests.stage import Stage, staged

BODY = {"messages": [{"role": "user", "content": "sky"}]}


async def ask(stage: Stage, method: str, path: str, name: str | None, **more: object) -> httpx.Response:
    headers = {} if name is None else {"x-request-id": name}
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        return await client.request(method, path, headers=headers, **more)  # type: ignore[arg-type]


PATHS = [
    ("POST", "/v1/chat/completions", {"json": BODY}, 200),
    ("POST", "/v1/chat/completions", {"json": BODY | {"stream": True}}, 200),
    ("POST", "/v1/chat/completions", {"content": b"{"}, 400),
    ("POST", "/v1/decisions", {"json": {"input": "sky"}}, 200),
    ("GET", "/v1/models", {}, 200),
    ("GET", "/v1/chat/completions", {}, 405),
    ("GET", "/nothing", {}, 404),
    ("GET", "/metrics", {}, 200),
]


@pytest.mark.parametrize(("method", "path", "more", "status"), PATHS)
async def test_it_is_echoed_or_made(
    tmp_path: Path, method: str, path: str, more: dict[str, object], status: int
) -> None:
    async with staged(tmp_path) as stage:
        echoed = await ask(stage, method, path, "client-1.2:3/4+5=6@7_8", **more)
        assert (echoed.status_code, echoed.headers["x-request-id"]) == (status, "client-1.2:3/4+5=6@7_8")
        made = [(await ask(stage, method, path, None, **more)).headers["x-request-id"] for _ in range(2)]
        assert made[0] != made[1]
        assert all(name.startswith("req_") and len(name) == 36 for name in made)


@pytest.mark.parametrize("name", ["", "two words", "a" * 129, "x;y", "caf\xe9"])
async def test_what_is_no_usable_name_is_replaced(tmp_path: Path, name: str) -> None:
    async with staged(tmp_path) as stage, httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        answer = await client.get("/healthz", headers=[(b"x-request-id", name.encode("latin-1"))])
        assert answer.headers["x-request-id"].startswith("req_")
        assert len(answer.headers.get_list("x-request-id")) == 1


async def test_a_mistake_of_ours_is_a_500_in_openais_form_with_its_name(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:

        async def broken(text: str) -> None:
            raise ZeroDivisionError("sky")

        stage.router.scorer.score = broken  # type: ignore[method-assign, assignment]
        answer = await ask(stage, "POST", "/v1/chat/completions", "mine", json=BODY)
        assert (answer.status_code, answer.headers["x-request-id"]) == (500, "mine")
        assert answer.json()["error"]["code"] == "internal_error"
        assert "sky" not in answer.text
        assert stage.router.state.fleet.idle.is_set()


async def test_the_log_knows_it_and_the_engine_is_told_the_decision(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        answer = await ask(stage, "POST", "/v1/chat/completions", "mine", json=BODY)
        (fact,) = stage.facts.of(Decided)
        assert (fact.request_id, fact.id) == ("mine", answer.headers["x-agoge-decision-id"])
        assert stage.backends["first"].prompts[0].request_id == fact.id


async def test_openai_python_shows_and_logs_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with staged(tmp_path) as stage:
        client = openai.AsyncOpenAI(base_url=f"{stage.url}/v1", api_key="any", max_retries=0)
        with caplog.at_level(logging.DEBUG, logger="openai"):
            whole = await client.chat.completions.create(
                model="auto", messages=[{"role": "user", "content": "sky"}], extra_headers={"x-request-id": "mine"}
            )
        assert whole._request_id == "mine"
        assert "request_id: mine" in caplog.text
        with pytest.raises(openai.NotFoundError) as caught:
            await client.models.retrieve("nope")
        assert (caught.value.request_id or "").startswith("req_")
