"""POST /v1/completions over real HTTP, judged by OpenAI's reference and its own Python client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types import Completion

from router.core.errors import BackendBroken, BackendRefused, BackendUnreachable
from router.core.reply import Inventory
from tests.stage import Stage, staged
from tests.stubs import SpeakingBackend, until

PATH = "/v1/completions"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as live:
        yield live


async def post(stage: Stage, payload: object) -> httpx.Response:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        return await client.post(PATH, json=payload)


def client_of(stage: Stage) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{stage.url}/v1", api_key="any", max_retries=0)


@pytest.mark.parametrize("prompt", ["Why is the sky blue?", ["Why is the sky blue?"]])
async def test_the_whole_answer_is_a_text_completion_that_says_who_spoke(stage: Stage, prompt: object) -> None:
    answer = await post(stage, {"prompt": prompt})
    told = answer.json()
    assert answer.status_code == 200
    assert Completion.model_validate(told).choices[0].text == "core=1.0,physics=0.8 says Why is the sky blue?"
    assert told["object"] == "text_completion"
    assert told["choices"][0] == told["choices"][0] | {"index": 0, "logprobs": None, "finish_reason": "stop"}
    assert told["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert told["agoge"]["adapters"] == {"core": 1.0, "physics": 0.8}
    assert answer.headers["x-agoge-adapters"] == "core=1.0,physics=0.8"
    assert answer.headers["x-agoge-decision-id"] == told["agoge"]["decision_id"]
    (prompt_seen,) = stage.backends["first"].prompts
    assert [(message.role, message.content) for message in prompt_seen.messages] == [
        ("user", "Why is the sky blue?")
    ]


async def test_a_stream_is_text_then_its_end_then_the_usage(stage: Stage) -> None:
    asked = {"prompt": "sky", "stream": True, "stream_options": {"include_usage": True}}
    answer = await post(stage, asked)
    blocks = answer.text.strip().split("\n\n")
    assert blocks[-1] == "data: [DONE]"
    chunks = [json.loads(block.removeprefix("data: ")) for block in blocks[:-1]]
    assert len({(chunk["id"], chunk["object"], chunk["model"]) for chunk in chunks}) == 1
    texts = [choice["text"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(texts) == "core=1.0,physics=0.8 says sky"
    assert [c["finish_reason"] for chunk in chunks for c in chunk["choices"]] == [*[None] * 3, "stop"]
    assert [chunk["usage"] is None for chunk in chunks] == [*[True] * 4, False]
    assert chunks[-1]["choices"] == []
    assert answer.headers["x-agoge-adapters"] == "core=1.0,physics=0.8"
    assert '"usage"' not in (await post(stage, {"prompt": "sky", "stream": True})).text


async def test_the_openai_client_reads_both(stage: Stage) -> None:
    client = client_of(stage)
    whole = await client.completions.create(model="academic", prompt="hi", max_tokens=5, stop=["."])
    assert whole.choices[0].text == "academic=1.0 says hi"
    assert dict(stage.backends["first"].prompts[0].parameters) == {"max_tokens": 5, "stop": ["."]}
    stream = await client.completions.create(model="auto", prompt="sky", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == "core=1.0,physics=0.8 says sky"


@pytest.mark.parametrize(
    ("extra", "param", "says"),
    [
        ({"prompt": None}, "prompt", "exactly one text"),
        ({"prompt": []}, "prompt", "exactly one text"),
        ({"prompt": {"a": 1}}, "prompt", "exactly one text"),
        ({"prompt": ["a", "b"]}, "prompt", "one request per prompt"),
        ({"prompt": [1, 2]}, "prompt", "token ids are not read"),
        ({"prompt": [[1, 2]]}, "prompt", "token ids are not read"),
        ({"n": 2}, "n", "must be 1"),
        ({"best_of": 2}, "best_of", "must be 1"),
        ({"echo": True}, "echo", "before the text yourself"),
        ({"suffix": "end"}, "suffix", "leave it out"),
        ({"logprobs": 0}, "logprobs", "leave the parameter out"),
        ({"logprobs": 5}, "logprobs", "leave the parameter out"),
        ({"temperature": 3}, "temperature", "from 0 to 2"),
        ({"max_tokens": 0}, "max_tokens", "at least 1"),
        ({"stream": "yes"}, "stream", "true or false"),
        ({"prompt": "mode: alchemy"}, "prompt", "physics"),
        ({"prompt": "режим: академический+агоге\nпривет"}, "prompt", "alone"),
    ],
)
async def test_what_is_not_served_is_refused_by_name(
    stage: Stage, extra: dict[str, Any], param: str, says: str
) -> None:
    answer = await post(stage, {"prompt": "sky", **extra})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert says in error["message"]
    assert stage.backends["first"].prompts == []


async def test_nulls_and_unknown_parameters_are_tolerated(stage: Stage) -> None:
    nulls = dict.fromkeys(["n", "best_of", "echo", "suffix", "logprobs", "stream", "stop", "logit_bias"])
    answer = await post(stage, {"prompt": "sky", **nulls, "user": "u", "something_new": 1, "tools": [1]})
    assert answer.status_code == 200
    assert dict(stage.backends["first"].prompts[0].parameters) == {}


async def test_isolated_speech_never_goes_to_a_stand_in(tmp_path: Path) -> None:
    broken = SpeakingBackend(fails=BackendUnreachable("no route"))
    stand_in = SpeakingBackend(holds=Inventory(stand_in=True))
    async with staged(tmp_path, backends={"first": broken, "second": stand_in}) as stage:
        assert (await post(stage, {"prompt": "hello", "model": "academic"})).status_code == 502
        assert stand_in.prompts == []
        ordinary = await post(stage, {"prompt": "sky"})
        assert (ordinary.headers["x-agoge-stand-in"], ordinary.json()["agoge"]["adapters"]) == ("true", {})


async def test_failures_are_a_status_before_the_first_word_and_an_error_event_after_it(tmp_path: Path) -> None:
    too_long = SpeakingBackend(fails=BackendRefused("too long", param="messages"))
    async with staged(tmp_path, backends={"first": too_long, "second": too_long}) as stage:
        for stream in (False, True):
            answer = await post(stage, {"prompt": "sky", "stream": stream})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt")
    (tmp_path / "late").mkdir()
    late = SpeakingBackend(fails=BackendBroken("the GPU fell off"), fails_after=2)
    async with staged(tmp_path / "late", backends={"first": late, "second": late}) as stage:
        stream = await client_of(stage).completions.create(model="auto", prompt="sky", stream=True)
        with pytest.raises(openai.APIError, match="GPU fell off"):
            [chunk async for chunk in stream]
        assert (await post(stage, {"prompt": "sky"})).status_code == 502
        await until(lambda: late.open_streams == 0)
