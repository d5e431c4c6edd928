"""Function calls in the Responses API, there and back, and answers that end in odd ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from router.core.reply import Delta, Event, Finish, Usage
from tests.channels.test_responses import WEATHER, client_of, events_in, post
from tests.stage import staged
from tests.stubs import SpeakingBackend


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
