"""POST /v1/responses over real HTTP, judged by OpenAI's reference and openai-python's own classes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from router.core.errors import BackendBroken, BackendRefused, BackendUnreachable
from router.core.facts import Abandoned, BackendAnswered, RequestRefused
from router.core.reply import Delta, Event, Finish, Inventory, Usage
from tests.stage import Stage, staged
from tests.stubs import SpeakingBackend, until

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


def calls(*more: Event) -> list[Event]:
    """Two calls whose pieces an engine mixes, behind a word."""
    return [
        Delta("Wait. "),
        Delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "weather", "arguments": ""}}]),
        Delta(tool_calls=[{"index": 0, "function": {"arguments": '{"city":'}}]),
        Delta(tool_calls=[{"index": 1, "id": "c2", "function": {"name": "weather", "arguments": "{}"}}]),
        Delta(tool_calls=[{"index": 0, "function": {"arguments": '"Athens"}'}}]),
        *more,
        Finish("tool_calls"),
        Usage(5, 9),
    ]


async def test_tool_calls_are_items_with_their_arguments_in_pieces(tmp_path: Path) -> None:
    engine = SpeakingBackend(events=calls())
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        whole = await client_of(stage).responses.create(model="auto", input="sky", tools=[WEATHER])  # type: ignore[list-item]
        assert [item.type for item in whole.output] == ["message", "function_call", "function_call"]
        _, first, second = whole.output
        assert first.type == second.type == "function_call"
        assert (first.call_id, first.name, first.arguments) == ("c1", "weather", '{"city":"Athens"}')
        assert (second.call_id, second.arguments) == ("c2", "{}")
        (tool,) = engine.prompts[0].parameters["tools"]
        assert tool == {"type": "function", "function": {k: v for k, v in WEATHER.items() if k != "type"}}
        assert whole.tools[0].to_dict() == WEATHER
        streamed = await post(stage, {"input": "sky", "tools": [WEATHER], "stream": True})
        events = events_in(streamed.text)
        for event in events:
            TypeAdapter(ResponseStreamEvent).validate_python(event)
        assert [event["type"].removeprefix("response.") for event in events[2:-1]] == [
            *("output_item.added", "content_part.added", "output_text.delta"),
            *("output_text.done", "content_part.done", "output_item.done"),
            *("output_item.added", "function_call_arguments.delta"),
            *("output_item.added", "function_call_arguments.delta", "function_call_arguments.delta"),
            *("function_call_arguments.done", "output_item.done") * 2,
        ]
        deltas = [event for event in events if event["type"] == "response.function_call_arguments.delta"]
        assert "".join(e["delta"] for e in deltas if e["output_index"] == 1) == '{"city":"Athens"}'
        assert [(e["name"], e["arguments"]) for e in events if e["type"].endswith("arguments.done")] == [
            ("weather", '{"city":"Athens"}'),
            ("weather", "{}"),
        ]


async def test_the_answer_to_a_call_goes_back_as_items_and_reaches_the_engine_as_chat(tmp_path: Path) -> None:
    engine = SpeakingBackend(events=calls())
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        client = client_of(stage)
        turns: list[Any] = [{"role": "user", "content": "sky"}]
        first = await client.responses.create(model="auto", input=turns)
        turns += first.output  # as OpenAI's own guide does
        turns += [
            {"type": "function_call_output", "call_id": item.call_id, "output": "sunny"}
            for item in first.output
            if item.type == "function_call"
        ]
        await client.responses.create(model="auto", instructions="be brief", input=turns)
        told = [(m.role, m.content, dict(m.extra or {})) for m in engine.prompts[1].messages]
        function = {"name": "weather", "arguments": '{"city":"Athens"}'}
        assert told == [
            ("system", "be brief", {}),
            ("user", "sky", {}),
            (
                "assistant",
                "Wait. ",
                {
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": function},
                        {"id": "c2", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
                    ]
                },
            ),
            ("tool", "sunny", {"tool_call_id": "c1"}),
            ("tool", "sunny", {"tool_call_id": "c2"}),
        ]


@pytest.mark.parametrize(
    ("events", "items", "status"),
    [
        ([Finish("stop")], [("message", "")], "completed"),
        ([Delta("half"), Finish("length")], [("message", "half")], "max_output_tokens"),
        ([Delta("half"), Finish("content_filter")], [("message", "half")], "content_filter"),
        (
            [Delta(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}]), Finish("tool_calls")],
            [("function_call", "{}")],
            "completed",
        ),
        (  # TGI sends an object where OpenAI sends text, and no index
            [Delta(tool_calls=[{"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}]), Finish("stop")],
            [("function_call", '{"a": 1}')],
            "completed",
        ),
        (
            [
                Delta(tool_calls=[{"index": 0, "function": {"arguments": "{"}}]),  # nameless yet
                Delta(tool_calls=[{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}]),
                Delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": "}"}}]),
                Delta("late"),
                Finish("tool_calls"),
            ],
            [("function_call", "{}"), ("function_call", "{}"), ("message", "late")],
            "completed",
        ),
    ],
)
async def test_odd_ends_keep_every_word_and_every_index(
    tmp_path: Path, events: list[Event], items: list[tuple[str, str]], status: str
) -> None:
    engine = SpeakingBackend(events=events)
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        streamed = events_in((await post(stage, {"input": "sky", "stream": True})).text)
        told = (await post(stage, {"input": "sky"})).json()
    for response in (streamed[-1]["response"], told):
        shown = [
            (i["type"], i["arguments"] if i["type"] == "function_call" else i["content"][0]["text"])
            for i in response["output"]
        ]
        assert shown == items
        if status == "completed":
            assert (response["status"], response["incomplete_details"]) == ("completed", None)
        else:
            assert response["incomplete_details"] == {"reason": status}
            assert (response["status"], response["output"][-1]["status"]) == ("incomplete", "incomplete")
    assert streamed[-1]["type"] == f"response.{told['status']}"
    added = [event["output_index"] for event in streamed if event["type"] == "response.output_item.added"]
    assert added == list(range(len(items)))  # openai-python takes the order of arrival for the index
    rebuilt = [""] * len(items)
    for event in streamed:
        if event["type"].endswith(".delta"):
            rebuilt[event["output_index"]] += event["delta"]
    assert rebuilt == [text for _, text in items]
    assert all(item["call_id"] for item in told["output"] if item["type"] == "function_call")


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


@pytest.mark.parametrize(
    ("extra", "code", "says"),
    [
        ({"previous_response_id": "resp_1"}, "unsupported_parameter", "send the whole conversation in input"),
        ({"conversation": {"id": "conv_1"}}, "unsupported_parameter", "send the whole conversation in input"),
        ({"background": True}, "unsupported_parameter", "use stream"),
        ({"prompt": {"id": "pmpt_1"}}, "unsupported_parameter", "into instructions and input"),
    ],
)
async def test_what_needs_a_store_says_what_to_do_instead(
    stage: Stage, extra: dict[str, Any], code: str, says: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client_of(stage).responses.create(model="auto", input="sky", extra_body=extra)
    assert (caught.value.code, caught.value.param) == (code, next(iter(extra)))
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/resp_1"),
        ("DELETE", "/resp_1"),
        ("POST", "/resp_1/cancel"),
        ("GET", "/resp_1/input_items"),
        ("POST", "/compact"),
    ],
)
async def test_nothing_is_kept_and_a_clear_404_says_so(stage: Stage, method: str, path: str) -> None:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        answer = await client.request(method, PATH + path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "response_not_found")
    assert "nothing is stored here" in answer.json()["error"]["message"]
    with pytest.raises(openai.NotFoundError):
        await client_of(stage).responses.retrieve("resp_1")


@pytest.mark.parametrize(
    ("payload", "status", "code", "param"),
    [
        ({"input": "режим: алхимия"}, 400, "unknown_mode", "input"),
        ({"input": "режим: академический+агоге\nпривет"}, 400, "contradiction", "input"),
        ({"input": "hello", "model": "gpt-nope"}, 404, "model_not_found", "model"),
        ({"input": "hello", "model": "academic+core"}, 400, "contradiction", "model"),
    ],
)
async def test_what_cannot_be_asked_blames_the_right_field(
    stage: Stage, payload: dict[str, Any], status: int, code: str, param: str
) -> None:
    for stream in (False, True):
        answer = await post(stage, {**payload, "stream": stream})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
        assert answer.headers["x-should-retry"] == "false"
    assert stage.backends["first"].prompts == []


async def test_isolated_speech_never_goes_to_a_stand_in(tmp_path: Path) -> None:
    broken = SpeakingBackend(fails=BackendUnreachable("no route"))
    stand_in = SpeakingBackend(holds=Inventory(stand_in=True))
    async with staged(tmp_path, backends={"first": broken, "second": stand_in}) as stage:
        assert (await post(stage, {"input": "hello", "model": "academic"})).status_code == 502
        assert stand_in.prompts == []
        for stream in (False, True):
            ordinary = await post(stage, {"input": "sky", "stream": stream})
            assert (ordinary.headers["x-agoge-stand-in"], ordinary.headers["x-agoge-adapters"]) == ("true", "")
            told = events_in(ordinary.text)[-1]["response"] if stream else ordinary.json()
            assert (told["agoge"]["stand_in"], told["agoge"]["adapters"], told["agoge"]["blend"]) == (True, {}, "")


async def test_a_blend_that_no_engine_holds_is_refused(tmp_path: Path) -> None:
    engine = SpeakingBackend(holds=Inventory(names=frozenset({"core", "academic"})))
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        answer = await post(stage, {"input": "sky"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "blend_unavailable")
        assert engine.prompts == []


async def test_a_failure_in_the_middle_is_told_twice_and_openai_raises(tmp_path: Path) -> None:
    engine = SpeakingBackend(fails=BackendBroken("the GPU fell off"), fails_after=2)
    async with staged(tmp_path, backends={"first": engine, "second": SpeakingBackend()}) as stage:
        streamed = events_in((await post(stage, {"input": "sky", "stream": True})).text)
        failed, error = streamed[-2:]
        assert failed["type"] == "response.failed"
        assert (failed["response"]["status"], failed["response"]["output"][0]["status"]) == (
            "failed",
            "incomplete",
        )
        assert failed["response"]["error"] == {"code": "backend_failed", "message": "the GPU fell off"}
        assert (error["type"], error["code"], error["message"]) == ("error", "backend_failed", "the GPU fell off")
        for event in (failed | {"response": failed["response"] | {"error": None}}, error):
            TypeAdapter(ResponseStreamEvent).validate_python(event)  # OpenAI's list of codes is not ours
        assert [event["sequence_number"] for event in streamed] == list(range(len(streamed)))
        seen = []

        async def watch() -> None:
            async for event in await client_of(stage).responses.create(model="auto", input="sky", stream=True):
                seen.append(event.type)

        with pytest.raises(openai.APIError, match="GPU fell off"):
            await watch()
        assert seen[-1] == "response.failed"
        assert (await post(stage, {"input": "sky"})).status_code == 502
        assert stage.backends["second"].prompts == []  # half an answer from somebody else is no answer
        assert len(stage.facts.of(RequestRefused)) == 3


async def test_an_engine_that_blames_the_messages_blames_the_input(tmp_path: Path) -> None:
    engine = SpeakingBackend(fails=BackendRefused("too long", code="context_length_exceeded", param="messages"))
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        error = (await post(stage, {"input": "sky"})).json()["error"]
        assert (error["code"], error["param"]) == ("context_length_exceeded", "input")


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("hangs_after", [0, 2])
async def test_a_client_that_leaves_frees_the_engine(tmp_path: Path, streamed: bool, hangs_after: int) -> None:
    engine = SpeakingBackend(hangs_after=hangs_after)
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        client = httpx.AsyncClient(base_url=stage.url, timeout=60)
        asking = asyncio.create_task(client.post(PATH, json={"input": "sky", "stream": streamed}))
        await until(lambda: engine.open_streams == 1)
        asking.cancel()
        await client.aclose()
        await until(lambda: engine.open_streams == 0)
        await until(lambda: len(stage.facts.of(Abandoned)) == 1)
        assert stage.facts.of(BackendAnswered) == []


async def test_no_text_gets_into_the_facts(stage: Stage) -> None:
    await post(stage, {"input": "sky marker", "instructions": "marker", "metadata": {"a": "marker"}})
    await post(stage, {"input": [{"role": "user", "content": "marker"}, {"type": "marker"}]})
    assert len(stage.facts.seen) >= 3
    assert "marker" not in repr(stage.facts.seen)
