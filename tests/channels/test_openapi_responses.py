"""What /openapi.json says of /v1/responses and /v1/completions, against what the server really takes and gives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.channels.completions import PASSED
from router.channels.openapi_responses import REFUSED
from router.core.reply import Delta, Finish
from tests.channels.test_openapi import shown, validator
from tests.stage import Stage, staged
from tests.stubs import SpeakingBackend

TOOL = {"type": "function", "name": "f", "parameters": {}}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
USER = {"role": "user", "content": "sky"}
GOOD: dict[str, list[dict[str, Any]]] = {
    "/v1/responses": [
        {"input": "sky"},
        {"input": [USER], "instructions": "be brief", "store": True, "something_new": 1, "max_output_tokens": 5},
        {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "sky"}]}]},
        {"input": [USER, CALL, {"type": "function_call_output", "call_id": "c", "output": "x"}]},
        {"input": [USER, {"type": "reasoning", "id": "r", "summary": []}], "metadata": {"a": "b"}, "user": "u"},
        {"input": "sky", "tools": [TOOL], "tool_choice": {"type": "function", "name": "f"}},
        {"input": "sky", "text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}},
    ],
    "/v1/completions": [{"prompt": "sky"}, {"prompt": ["sky"], "max_tokens": 5, "stop": ".", "something_new": 1}],
}
BAD: dict[str, list[dict[str, Any]]] = {
    "/v1/responses": [
        {},
        {"input": []},
        {"input": 5},
        {"input": ["sky"]},
        {"input": [{"role": "owner", "content": "x"}]},
        {"input": [{"role": "user", "content": [{"type": "input_file"}]}]},
        {"input": [USER, {"type": "web_search_call"}]},
        {"input": [USER, {**CALL, "call_id": ""}]},
        {"input": "sky", "model": 3},
        {"input": "sky", "instructions": ["x"]},
        {"input": "sky", "max_output_tokens": 0},
        {"input": "sky", "temperature": 3},
        {"input": "sky", "tools": [{"type": "web_search"}]},
        {"input": "sky", "tool_choice": 5},
        {"input": "sky", "text": {"format": {"type": "xml"}}},
        {"input": "sky", "metadata": {"a": 1}},
        {"input": "sky", "user": 5},
        {"input": "sky", "store": "yes"},
        {"input": "sky", "stream": "yes"},
        {"input": "sky", "stream": {}},
        {"input": "sky", "metadata": []},
        {"input": "sky", "tools": [{**TOOL, "strict": {}}]},
        {"input": "sky", "tools": [{**TOOL, "description": 5}]},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": 5}]}]},
        {"input": [{"role": "assistant", "content": "nobody asks"}]},
    ],
    "/v1/completions": [
        {},
        {"prompt": []},
        {"prompt": ["a", "b"]},
        {"prompt": [1]},
        {"prompt": "sky", "max_tokens": 0},
        {"prompt": "sky", "stop": [1]},
        {"prompt": "sky", "stream": "yes"},
        {"prompt": "sky", "echo": {}},
        {"prompt": "sky", "suffix": []},
        {"prompt": "sky", "best_of": True},
    ],
}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as live:
        yield live


@pytest.mark.parametrize("path", list(GOOD))
async def test_the_body_is_what_the_server_takes(stage: Stage, path: str) -> None:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        body = validator((await shown(client, path))["requestBody"])
        for good in (*GOOD[path], *body.schema["examples"]):
            assert body.is_valid(good), good
            assert (await client.post(path, json=good)).status_code == 200, good
        for bad in BAD[path]:
            assert not body.is_valid(bad), bad
            assert (await client.post(path, json=bad)).status_code == 400, bad


@pytest.mark.parametrize("path", list(GOOD))
async def test_answers_and_errors_have_the_shape_that_is_shown(tmp_path: Path, path: str) -> None:
    calls = [Delta("Wait."), Delta(tool_calls=[{"id": "c", "function": {"name": "f"}}]), Finish("tool_calls")]
    speaking, calling = SpeakingBackend(), SpeakingBackend(events=calls)
    for number, engine in enumerate((speaking, calling)):
        (tmp_path / str(number)).mkdir()
        async with (
            staged(tmp_path / str(number), backends={"first": engine, "second": engine}) as stage,
            httpx.AsyncClient(base_url=stage.url, timeout=20) as client,
        ):
            responses = (await shown(client, path))["responses"]
            answer = await client.post(path, json=GOOD[path][0])
            validator(responses["200"]).validate(answer.json())
            assert responses["200"]["headers"].keys() == {
                name for name in answer.headers if name.startswith("x-agoge-") or name == "link"
            }
            refused = await client.post(path, json={**GOOD[path][0], "model": "nobody"})
            validator(responses["4XX"]).validate(refused.json())
            assert "422" not in responses  # FastAPI's own error form, which we never send


async def test_every_parameter_that_a_completion_passes_on_is_shown(stage: Stage) -> None:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        body = (await shown(client, "/v1/completions"))["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"].keys() == {"model", "prompt", "stream", "stream_options", *PASSED, *REFUSED}
