"""POST /v1/chat/completions over real HTTP, judged by what OpenAI's reference and its own Python client expect."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import openai
import pytest

from router.core.errors import BackendBroken, BackendOverloaded, BackendRefused, BackendUnreachable
from router.core.facts import Abandoned, BackendAnswered, BackendAttemptFailed
from router.core.reply import Delta, Event, Finish, Inventory
from tests.stage import Stage, staged
from tests.stubs import SpeakingBackend, until


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as live:
        yield live


def body(text: str, **more: object) -> dict[str, object]:
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **more}


async def post(stage: Stage, payload: object, path: str = "/v1/chat/completions") -> httpx.Response:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        return await client.post(path, json=payload)


CASES = [
    ("Why is the sky blue?", {"core": 1.0, "physics": 0.8}, "physics"),
    ("Как пробежать марафон?", {"core": 1.0, "sport": 0.8}, "sport"),
    ("включить режим: физика+агоге\nпочему лёд плавает?", {"core": 1.0, "physics": 0.8}, "general"),
    ("режим: академический\nexplain attention", {"academic": 1.0}, "general"),
    ("hello there", {"core": 1.0}, "general"),
]


@pytest.mark.parametrize(("text", "adapters", "label"), CASES)
async def test_the_whole_answer_says_who_spoke(
    stage: Stage, text: str, adapters: dict[str, float], label: str
) -> None:
    answer = await post(stage, body(text))
    told = answer.json()
    assert answer.status_code == 200
    assert told["agoge"]["adapters"] == adapters
    assert told["agoge"]["label"] == label
    assert told["object"] == "chat.completion"
    assert told["choices"][0]["finish_reason"] == "stop"
    wire = ",".join(f"{name}={weight}" for name, weight in sorted(adapters.items()))
    assert answer.headers["x-agoge-adapters"] == wire
    assert told["choices"][0]["message"]["content"].startswith(f"{wire} says")
    assert told["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert answer.headers["x-agoge-decision-id"] == told["agoge"]["decision_id"]
    assert answer.headers["x-agoge-blend"] == told["agoge"]["blend"]
    assert answer.headers["x-agoge-label"] == label
    assert {"decision_id", "label", "scores", "adapters", "blend", "reason", "cache"} <= told["agoge"].keys()


@pytest.mark.parametrize(("text", "adapters", "label"), CASES)
async def test_a_stream_carries_the_same_decision_in_its_headers(
    stage: Stage, text: str, adapters: dict[str, float], label: str
) -> None:
    answer = await post(stage, body(text, stream=True, stream_options={"include_usage": True}))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-agoge-adapters"] == ",".join(f"{n}={w}" for n, w in sorted(adapters.items()))
    blocks = answer.text.strip().split("\n\n")
    assert all(block.startswith("data: ") for block in blocks)
    assert blocks[-1] == "data: [DONE]"
    chunks = [json.loads(block[6:]) for block in blocks[:-1]]
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 10
    assert all("agoge" not in chunk for chunk in chunks)


async def test_usage_is_counted_in_a_chunk_of_its_own_and_only_when_asked_for(stage: Stage) -> None:
    for options in ({}, {"stream_options": {}}, {"stream_options": {"include_usage": False}}):
        plain = (await post(stage, body("sky", stream=True, **options))).text
        assert '"usage"' not in plain
        assert '"choices":[]' not in plain
    asked = (await post(stage, body("sky", stream=True, stream_options={"include_usage": True}))).text
    chunks = [json.loads(block[6:]) for block in asked.strip().split("\n\n")[:-1]]
    assert [chunk["usage"] is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert [chunk["choices"] == [] for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


async def test_the_directive_never_reaches_the_engine(stage: Stage) -> None:
    await post(stage, body("включить режим: физика+агоге\nпочему лёд плавает?"))
    (prompt,) = stage.backends["first"].prompts
    assert [message.text for message in prompt.messages] == ["почему лёд плавает?"]


async def test_a_bare_directive_is_confirmed_without_an_engine_and_holds(stage: Stage) -> None:
    turn = [{"role": "user", "content": "режим: физика"}]
    confirmed = (await post(stage, {"messages": turn})).json()
    assert confirmed["agoge"]["adapters"] == {"core": 1.0, "physics": 0.8}
    assert confirmed["agoge"]["backend"] == "router"
    assert stage.backends["first"].prompts == []
    turn += [confirmed["choices"][0]["message"], {"role": "user", "content": "привет"}]
    later = (await post(stage, {"messages": turn})).json()
    assert later["agoge"]["adapters"] == {"core": 1.0, "physics": 0.8}
    assert [m.text for m in stage.backends["first"].prompts[0].messages] == ["привет"]


async def test_the_second_identical_request_is_a_cache_hit_with_the_same_decision(stage: Stage) -> None:
    first = (await post(stage, body("Why is the sky blue?"))).json()["agoge"]
    again = (await post(stage, body("Why is the sky blue?"))).json()["agoge"]
    assert (first.pop("cache"), again.pop("cache")) == ("miss", "hit")
    assert first.pop("decision_id") != again.pop("decision_id")
    assert first == again
    assert stage.scorer.calls == 1


@pytest.mark.parametrize(
    ("payload", "param", "says"),
    [
        ({}, "messages", "non-empty list"),
        ({"messages": []}, "messages", "non-empty list"),
        ({"messages": ["hi"]}, "messages[0]", "object with role"),
        ({"messages": [{"role": "owner", "content": "x"}]}, "messages[0].role", "one of system"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "text or a list"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]", "with a type"),
        ({"messages": [{"role": "system", "content": "x"}]}, None, "user"),
        (body("x", model=3), "model", "must be text"),
        (body("x", n=2), "n", "must be 1"),
        (body("x", temperature=3), "temperature", "from 0 to 2"),
        (body("x", temperature=True), "temperature", "from 0 to 2"),
        (body("x", max_tokens=0), "max_tokens", "at least 1"),
        (body("x", stop=[1]), "stop", "list of at most 4"),
        (body("x", stream="yes"), "stream", "true or false"),
        (body("x", stream_options={"include_usage": True}), "stream_options", "only allowed"),
        (body("x", logprobs=True), "logprobs", "not served"),
        ([1], None, "JSON object"),
    ],
)
async def test_a_bad_request_names_what_is_wrong(
    stage: Stage, payload: object, param: str | None, says: str
) -> None:
    answer = await post(stage, payload)
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert says in error["message"]
    if param is not None:
        assert error["param"] == param
    assert answer.headers["x-should-retry"] == "false"
    assert stage.backends["first"].prompts == []


async def test_unknown_parameters_and_content_parts_are_tolerated(stage: Stage) -> None:
    parts = [
        {"type": "text", "text": "why is the sky blue"},
        {"type": "image_url", "image_url": {"url": "data:,"}},
    ]
    answer = await post(
        stage,
        {
            "model": "auto",
            "messages": [{"role": "developer", "content": "be brief"}, {"role": "user", "content": parts}],
            "metadata": {"a": "b"},
            "user": "u1",
            "store": True,
            "service_tier": "flex",
            "max_completion_tokens": 5,
            "something_new": 1,
        },
    )
    assert answer.json()["agoge"]["adapters"] == {"core": 1.0, "physics": 0.8}
    (prompt,) = stage.backends["first"].prompts
    assert dict(prompt.parameters) == {"max_tokens": 5}
    kinds = [part["type"] for part in prompt.messages[1].content]  # type: ignore[index]  # parts, as sent above
    assert kinds == ["text", "image_url"]


@pytest.mark.parametrize(
    ("text", "model", "status", "code"),
    [
        ("режим: алхимия", "auto", 400, "unknown_mode"),
        ("hello", "gpt-nope", 404, "model_not_found"),
        ("режим: академический+агоге\nпривет", "auto", 400, "contradiction"),
        ("включить режим: физика+агоге\nпривет", "academic", 400, "contradiction"),
    ],
)
async def test_what_cannot_be_asked_is_an_error_with_a_name(
    stage: Stage, text: str, model: str, status: int, code: str
) -> None:
    answer = await post(stage, body(text, model=model))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert stage.backends["first"].prompts == []


async def test_isolation_with_company_in_model_blames_model(stage: Stage) -> None:
    error = (await post(stage, body("hello", model="academic+core"))).json()["error"]
    assert (error["code"], error["param"]) == ("contradiction", "model")


async def test_the_openai_client_understands_answers_streams_and_errors(stage: Stage) -> None:
    client = openai.AsyncOpenAI(base_url=f"{stage.url}/v1", api_key="any", max_retries=0)
    whole = await client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "sky"}])
    assert whole.choices[0].message.content == "core=1.0,physics=0.8 says sky"
    assert whole.model_extra is not None
    assert whole.model_extra["agoge"]["label"] == "physics"
    stream = await client.chat.completions.create(
        model="physics+core",
        messages=[{"role": "user", "content": "hi"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "core=1.0,physics=0.8 says hi"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3
    listed = [model.id async for model in client.models.list()]
    assert listed[0] == "auto"
    assert {"core", "physics", "sport", "academic", "core+physics", "core+physics+sport"} <= set(listed)
    assert "academic+core" not in listed
    assert (await client.models.retrieve("core+physics")).owned_by == "agoge"
    with pytest.raises(openai.NotFoundError, match="nope"):
        await client.models.retrieve("nope")
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "mode: alchemy"}])
    assert caught.value.code == "unknown_mode"
    assert "physics" in caught.value.message


async def test_falls_back_to_the_next_backend_with_the_same_blend(tmp_path: Path) -> None:
    broken = SpeakingBackend(fails=BackendUnreachable("no route"))
    async with staged(tmp_path, backends={"first": broken, "second": SpeakingBackend()}) as stage:
        told = (await post(stage, body("sky"))).json()
        assert told["agoge"]["backend"] == "second"
        assert told["agoge"]["adapters"] == {"core": 1.0, "physics": 0.8}
        (fact,) = stage.facts.of(BackendAttemptFailed)
        assert (fact.backend, fact.started) == ("first", False)


async def test_isolated_speech_never_goes_to_a_stand_in(tmp_path: Path) -> None:
    broken = SpeakingBackend(fails=BackendUnreachable("no route"))
    stand_in = SpeakingBackend(holds=Inventory(stand_in=True))
    async with staged(tmp_path, backends={"first": broken, "second": stand_in}) as stage:
        isolated = await post(stage, body("hello", model="academic"))
        assert isolated.status_code == 502
        assert stand_in.prompts == []
        ordinary = await post(stage, body("sky"))
        assert ordinary.json()["agoge"]["stand_in"] is True
        assert ordinary.json()["agoge"]["adapters"] == {}  # no adapter spoke, and the answer says so
        assert ordinary.headers["x-agoge-stand-in"] == "true"
        assert ordinary.headers["x-agoge-adapters"] == ""
        assert (ordinary.headers["x-agoge-blend"], ordinary.json()["agoge"]["blend"]) == ("", "")


async def test_a_blend_that_no_engine_holds_is_refused_by_name(tmp_path: Path) -> None:
    engine = SpeakingBackend(holds=Inventory(names=frozenset({"core", "academic"})))
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        answer = await post(stage, body("sky"))
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "blend_unavailable"
        assert "core+physics-" in answer.json()["error"]["message"]
        assert engine.prompts == []
        assert (await post(stage, body("hello"))).status_code == 200  # the core alone is there
        ready = await _get(stage, "/readyz")
        assert ready.status_code == 503
        assert any("core+physics-" in line for line in ready.json()["unserved"])


async def _get(stage: Stage, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        return await client.get(path)


@pytest.mark.parametrize(
    ("failure", "status", "code", "retry"),
    [
        (BackendOverloaded("full", retry_after=2.0), 429, "rate_limit_exceeded", "true"),
        (BackendRefused("too long", code="context_length_exceeded"), 400, "context_length_exceeded", "false"),
        (BackendBroken("engine error"), 502, "backend_failed", "true"),
    ],
)
async def test_a_failure_before_the_first_event_is_a_proper_status_even_for_a_stream(
    tmp_path: Path, failure: BackendBroken, status: int, code: str, retry: str
) -> None:
    engine = SpeakingBackend(fails=failure)
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        for streamed in (False, True):
            answer = await post(stage, body("sky", stream=streamed))
            assert answer.status_code == status
            assert answer.json()["error"]["code"] == code
            assert answer.headers["x-should-retry"] == retry
        if failure.retry_after:
            assert answer.headers["retry-after"] == "2"
            assert answer.headers["retry-after-ms"] == "2000"


async def test_a_failure_after_the_first_event_is_an_error_event_that_openai_raises(tmp_path: Path) -> None:
    engine = SpeakingBackend(fails=BackendBroken("the GPU fell off"), fails_after=2)
    async with staged(tmp_path, backends={"first": engine, "second": SpeakingBackend()}) as stage:
        client = openai.AsyncOpenAI(base_url=f"{stage.url}/v1", api_key="any", max_retries=0)
        stream = await client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": "sky"}], stream=True
        )
        with pytest.raises(openai.APIError, match="GPU fell off"):
            async for _ in stream:
                pass
        whole = await post(stage, body("sky"))
        assert whole.status_code == 502
        assert stage.backends["second"].prompts == []  # half an answer from somebody else is no answer


async def test_a_stream_without_an_end_is_not_passed_off_as_whole(tmp_path: Path) -> None:
    engine = SpeakingBackend(events=[Delta("half an ")])
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        assert (await post(stage, body("sky"))).status_code == 502
        assert '"error"' in (await post(stage, body("sky", stream=True))).text


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("hangs_after", [0, 2])
async def test_a_client_that_leaves_frees_the_engine(tmp_path: Path, streamed: bool, hangs_after: int) -> None:
    engine = SpeakingBackend(hangs_after=hangs_after)
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        client = httpx.AsyncClient(base_url=stage.url, timeout=60)
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=body("sky", stream=streamed)))
        await until(lambda: engine.open_streams == 1)
        asking.cancel()
        await client.aclose()
        await until(lambda: engine.open_streams == 0)
        await until(lambda: len(stage.facts.of(Abandoned)) == 1)
        assert stage.router.state.fleet.idle.is_set()
        assert stage.facts.of(BackendAnswered) == []


async def test_tool_calls_come_through_in_both_forms(tmp_path: Path) -> None:
    pieces: list[Event] = [
        Delta(
            tool_calls=[{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}]
        ),
        Delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a":'}}]),
        Delta(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]),
        Finish("tool_calls"),
    ]
    engine = SpeakingBackend(events=pieces)
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        choice = (await post(stage, body("sky", tools=[{"type": "function"}]))).json()["choices"][0]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["content"] is None
        assert choice["message"]["tool_calls"] == [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
        ]
        assert "tools" in engine.prompts[0].parameters
