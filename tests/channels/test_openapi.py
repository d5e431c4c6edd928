"""/openapi.json against what the server really takes and gives, judged by the jsonschema library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from router.channels.openapi import PARAMETERS
from router.channels.parameters import read_parameters
from router.core.errors import BadRequest
from router.outcomes.file import FileOutcomes
from tests.stage import Stage, staged

SKY = {"messages": [{"role": "user", "content": "Why is the sky blue?"}]}
GOOD = [SKY, {**SKY, "model": "physics+core", "temperature": 0, "stop": ["."], "something_new": 1, "user": "u"}]
GOOD += [{**SKY, "max_tokens": 5.0, "seed": 7.0}, SKY | dict.fromkeys([*PARAMETERS, "model", "stream", "n"])]
BAD = [
    {},
    {"messages": []},
    {"messages": [{"role": "owner", "content": "x"}]},
    {"messages": [{"role": "user", "content": 5}]},
    {"messages": [{"role": "user", "content": ["x"]}]},
    {**SKY, "model": 3},
    {**SKY, "temperature": 3},
    {**SKY, "max_tokens": 0},
    {**SKY, "max_completion_tokens": "5"},
    {**SKY, "top_p": 1.5},
    {**SKY, "presence_penalty": -3},
    {**SKY, "stop": [1]},
    {**SKY, "tools": [1]},
    {**SKY, "tool_choice": 1},
    {**SKY, "seed": 0.5},
    {**SKY, "parallel_tool_calls": 1},
    {**SKY, "response_format": {}},
    {**SKY, "stream": "yes"},
    {**SKY, "stream": {}},
    {**SKY, "stream_options": {"include_usage": True}},
    {**SKY, "stream": True, "stream_options": []},
    {**SKY, "n": 2},
    {**SKY, "n": True},
    {**SKY, "logprobs": []},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
    {"messages": [{"role": "user", "content": [{"type": "input_text"}]}]},
    {"messages": [{"role": "system", "content": "nobody asks"}]},
]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as live:
        yield live


async def shown(client: httpx.AsyncClient, path: str, method: str = "post") -> dict[str, Any]:
    """Return the document's entry of this path and method."""
    entry: dict[str, Any] = (await client.get("/openapi.json")).json()["paths"][path][method]
    return entry


def validator(content: dict[str, Any]) -> Draft202012Validator:
    schema = content["content"]["application/json"]["schema"]
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


async def test_the_chat_body_is_what_the_server_takes(stage: Stage) -> None:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        body = validator((await shown(client, "/v1/chat/completions"))["requestBody"])
        for good in (*GOOD, *body.schema["examples"]):
            assert body.is_valid(good), good
            assert (await client.post("/v1/chat/completions", json=good)).status_code == 200
        for bad in BAD:
            assert not body.is_valid(bad), bad
            assert (await client.post("/v1/chat/completions", json=bad)).status_code == 400


async def test_answers_and_errors_have_the_shape_that_is_shown(stage: Stage) -> None:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        for path, body in (("/v1/chat/completions", SKY), ("/v1/decisions", {"input": "Why is the sky blue?"})):
            responses = (await shown(client, path))["responses"]
            answer = await client.post(path, json=body)
            validator(responses["200"]).validate(answer.json())
            assert responses["200"]["headers"].keys() == {
                n for n in answer.headers if n.startswith("x-agoge-") or n == "link"
            }
            refused = await client.post(path, json={**body, "model": "nobody"})
            validator(responses["4XX"]).validate(refused.json())
            assert "422" not in responses  # FastAPI's own error form, which we never send
        responses = (await shown(client, "/v1/decisions/{id}", "get"))["responses"]
        for answered in ("/v1/chat/completions", "/v1/decisions"):
            answer = await client.get((await client.post(answered, json=SKY)).links["describedby"]["url"])
            validator(responses["200"]).validate(answer.json())
        validator(responses["4XX"]).validate((await client.get("/v1/decisions/dec_0")).json())


async def test_the_decisions_body_is_what_the_server_takes(stage: Stage) -> None:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        body = validator((await shown(client, "/v1/decisions"))["requestBody"])
        many = {"batch": [{"input": "sky"}, SKY]}
        for good in ({"input": "sky"}, SKY, many, *body.schema["examples"]):
            assert body.is_valid(good)
            assert (await client.post("/v1/decisions", json=good)).status_code == 200
        bad_many = (
            {"batch": []},
            {"batch": [SKY] * 257},
            {**SKY, **many},
            {**many, "model": "core"},
            {"batch": 5},
        )
        for bad in ({}, {"input": 5}, {**SKY, "input": "sky"}, {**SKY, "for_engine": {}}, *bad_many):
            assert not body.is_valid(bad)
            assert (await client.post("/v1/decisions", json=bad)).status_code == 400


async def test_a_batch_has_the_shape_that_is_shown(stage: Stage) -> None:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        responses = (await shown(client, "/v1/decisions"))["responses"]
        answer = await client.post("/v1/decisions", json={"batch": [SKY, {"prompt": 5}, "sky"]})
        validator(responses["200"]).validate(answer.json())
        assert not validator(responses["200"]).is_valid({"object": "list", "data": [{"label": "physics"}]})


async def test_feedback_is_what_the_server_takes_and_gives(tmp_path: Path) -> None:
    async with (
        staged(tmp_path, outcomes=FileOutcomes(tmp_path / "kept" / "outcomes.jsonl")) as stage,
        httpx.AsyncClient(base_url=stage.url, timeout=20) as client,
    ):
        entry = await shown(client, "/v1/feedback")
        body = validator(entry["requestBody"])
        id = (await client.post("/v1/decisions", json={"input": "sky"})).json()["decision_id"]
        rest = {"decision_id": id, "verdict": "wrong"}
        for good in (rest, {**rest, "verdict": "up"}, {**rest, "label": "sport", "text": "sky"}):
            assert body.is_valid(good)
            answer = await client.post("/v1/feedback", json=good)
            assert answer.status_code == 201, answer.text
            validator(entry["responses"]["201"]).validate(answer.json())
        for bad in ({}, {"verdict": "up"}, {"decision_id": id}, {**rest, "verdict": "so"}, {**rest, "label": 5}):
            assert not body.is_valid(bad)
            refused = await client.post("/v1/feedback", json=bad)
            assert refused.status_code == 400
            validator(entry["responses"]["4XX"]).validate(refused.json())
        long = {**rest, "text": "x" * 20_001}
        assert not body.is_valid(long)
        assert (await client.post("/v1/feedback", json=long)).status_code == 400


async def test_a_key_can_be_given_and_metrics_are_text(stage: Stage) -> None:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        document = (await client.get("/openapi.json")).json()
    assert document["paths"]["/v1/models"]["get"]["security"] == [{"HTTPBearer": []}]
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    assert list(document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]) == ["text/plain"]
    assert "503" in document["paths"]["/readyz"]["get"]["responses"]


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_every_parameter_that_is_shown_is_one_that_is_read(name: str) -> None:
    with pytest.raises(BadRequest, match=name):
        read_parameters({name: object()})
