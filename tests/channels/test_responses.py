"""POST /v1/responses over real HTTP, judged by OpenAI's reference and openai-python's own classes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from router.core.reply import Delta, Finish
from tests.stage import Stage, staged
from tests.stubs import SpeakingBackend

PATH = "/v1/responses"


WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Tells the weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as live:
        yield live


async def post(stage: Stage, payload: object) -> httpx.Response:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        return await client.post(PATH, json=payload)


def client_of(stage: Stage) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{stage.url}/v1", api_key="any", max_retries=0)


def events_in(text: str) -> list[dict[str, Any]]:
    """Return the events of a stream; each is named on its first line as in its data."""
    found = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


CASES = [
    ("Why is the sky blue?", "auto", {"core": 1.0, "physics": 0.8}),
    ("Как пробежать марафон?", "auto", {"core": 1.0, "sport": 0.8}),
    ("включить режим: физика+агоге\nпочему лёд плавает?", "auto", {"core": 1.0, "physics": 0.8}),
    ("режим: академический\nexplain attention", "auto", {"academic": 1.0}),
    ("hello there", "academic", {"academic": 1.0}),
    ("hello there", None, {"core": 1.0}),
]


@pytest.mark.parametrize(("text", "model", "adapters"), CASES)
async def test_whole_and_streamed_say_the_same_and_who_spoke(
    stage: Stage, text: str, model: str | None, adapters: dict[str, float]
) -> None:
    asked = {"input": text} | ({} if model is None else {"model": model})
    answer = await post(stage, asked)
    told = answer.json()
    wire = ",".join(f"{name}={weight}" for name, weight in sorted(adapters.items()))
    assert answer.status_code == 200
    assert told["agoge"]["adapters"] == adapters
    assert told["model"] == (model or "auto")
    assert (told["status"], told["store"], told["error"], told["incomplete_details"]) == (
        *("completed", False),
        *(None, None),
    )
    assert told["output"][0]["content"][0]["text"].startswith(f"{wire} says ")
    assert told["usage"]["total_tokens"] == 10
    streamed = await post(stage, {**asked, "stream": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    last = events_in(streamed.text)[-1]["response"]
    for each in (answer, streamed):
        assert each.headers["x-agoge-adapters"] == wire
        assert each.headers["x-agoge-backend"] == "first"
        assert each.headers["link"].startswith("</v1/decisions/dec_")
    assert answer.headers["x-agoge-decision-id"] == told["agoge"]["decision_id"]
    assert said(last) == said(told)
    assert last["agoge"]["adapters"] == adapters


def said(response: dict[str, Any]) -> dict[str, Any]:
    """Return a response without what differs from answer to answer."""
    once = {"id", "created_at", "completed_at", "agoge", "output"}
    output = [{key: item[key] for key in item if key != "id"} for item in response["output"]]
    return {key: response[key] for key in response if key not in once} | {"output": output}


async def test_the_events_come_in_the_documented_order(stage: Stage) -> None:
    answer = await post(stage, {"input": "sky", "stream": True})
    events = events_in(answer.text)
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 3,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        TypeAdapter(ResponseStreamEvent).validate_python(event)  # strictly: the client itself does not validate
    created, added, done = events[0]["response"], events[2]["item"], events[-2]["item"]
    assert (created["status"], created["output"], created["usage"]) == ("in_progress", [], None)
    assert (added["status"], added["content"]) == ("in_progress", [])
    assert done["status"] == "completed"
    assert {event["item_id"] for event in events[3:9]} == {added["id"]} == {done["id"]}
    assert "".join(event["delta"] for event in events[4:7]) == events[7]["text"] == done["content"][0]["text"]
    assert events[-1]["response"]["output"] == [done]
    assert len({event["response"]["id"] for event in events if "response" in event}) == 1


async def test_a_whole_response_is_what_openai_describes(stage: Stage) -> None:
    told = (await post(stage, {"input": "sky", "tools": [WEATHER], "tool_choice": "auto"})).json()
    parsed = Response.model_validate(told)
    assert parsed.output_text == "core=1.0,physics=0.8 says sky"
    assert parsed.usage is not None
    assert (parsed.usage.input_tokens, parsed.usage.output_tokens) == (7, 3)


async def test_the_openai_client_reads_answers_streams_and_parsed_output(stage: Stage, tmp_path: Path) -> None:
    client = client_of(stage)
    whole = await client.responses.create(model="auto", input="sky")
    assert whole.output_text == "core=1.0,physics=0.8 says sky"
    assert whole.model_extra is not None
    assert whole.model_extra["agoge"]["label"] == "physics"
    pieces = [
        event.delta
        async for event in await client.responses.create(model="physics+core", input="hi", stream=True)
        if event.type == "response.output_text.delta"
    ]
    assert "".join(pieces) == "core=1.0,physics=0.8 says hi"
    async with client.responses.stream(model="auto", input="sky") as stream:
        async for _ in stream:
            pass
        assert (await stream.get_final_response()).output_text == whole.output_text

    class City(BaseModel):
        name: str

    engine = SpeakingBackend(events=[Delta('{"name": '), Delta('"Sparta"}'), Finish("stop")])
    (tmp_path / "other").mkdir()
    async with staged(tmp_path / "other", backends={"first": engine, "second": engine}) as other:
        parsed = await client_of(other).responses.parse(model="auto", input="a city", text_format=City)
        assert parsed.output_parsed == City(name="Sparta")
        sent = engine.prompts[0].parameters["response_format"]
        assert sent["type"] == "json_schema"
        assert sent["json_schema"]["schema"]["required"] == ["name"]


async def test_a_bare_directive_is_confirmed_and_holds_when_the_output_comes_back(stage: Stage) -> None:
    client = client_of(stage)
    turns: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": "режим: академический"}]}]
    confirmed = await client.responses.create(model="auto", input=turns)
    assert confirmed.output_text.startswith("Теперь говорит только academic")
    assert stage.backends["first"].prompts == []
    turns += [*confirmed.output, {"role": "user", "content": "Why is the sky blue?"}]
    later = await client.responses.create(model="auto", input=turns)
    assert later.output_text == "academic=1.0 says Why is the sky blue?"
    (prompt,) = stage.backends["first"].prompts
    assert [message.text for message in prompt.messages] == ["Why is the sky blue?"]


async def test_chat_and_responses_share_one_decision(stage: Stage) -> None:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        body = {"messages": [{"role": "user", "content": "Why is the sky blue?"}]}
        assert (await client.post("/v1/chat/completions", json=body)).headers["x-agoge-cache"] == "miss"
    parts = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Why is the sky blue?"}]}
    ]
    for same in ("Why is the sky blue?", parts):
        assert (await post(stage, {"input": same})).headers["x-agoge-cache"] == "hit"
    assert stage.scorer.calls == 1


async def test_what_is_asked_is_repeated_and_reaches_the_engine_in_its_words(stage: Stage) -> None:
    asked = {
        "instructions": "be brief",
        "max_output_tokens": 40,
        "temperature": 0.5,
        "top_p": 0.9,
        "parallel_tool_calls": False,
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "name": "weather"},
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "metadata": {"ticket": "7"},
        "user": "u1",
    }
    ignored = {
        "store": True,
        "include": ["reasoning.encrypted_content"],
        "truncation": "auto",
        "prompt_cache_key": "k",
        "service_tier": "flex",
        "reasoning": {"effort": "low"},
        "previous_response_id": None,
        "conversation": None,
        "background": False,
        "something_new": 1,
    }
    told = (await post(stage, {"input": "sky", **asked, **ignored})).json()
    assert {name: told[name] for name in asked if name != "text"} == {
        n: v for n, v in asked.items() if n != "text"
    }
    assert told["text"] == {"format": {"type": "json_object"}}
    assert (told["store"], told["background"], told["previous_response_id"]) == (False, False, None)
    (prompt,) = stage.backends["first"].prompts
    assert [(message.role, message.text) for message in prompt.messages] == [
        ("system", "be brief"),
        ("user", "sky"),
    ]
    assert dict(prompt.parameters) == {
        "max_tokens": 40,
        "temperature": 0.5,
        "top_p": 0.9,
        "parallel_tool_calls": False,
        "tools": [{"type": "function", "function": {k: v for k, v in WEATHER.items() if k != "type"}}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "response_format": {"type": "json_object"},
    }
