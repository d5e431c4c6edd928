"""What the Responses API's input and parameters become, and that no malformed one is anything but a clear 4xx."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.channels.responses_input import read_input
from router.channels.responses_request import read_settings
from router.core.errors import BadRequest
from tests.channels.test_wire import JSON
from tests.stage import Stage, staged

USER = {"role": "user", "content": "sky"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"}
TOOL = {"type": "function", "name": "f"}


def told(raw: object, instructions: object = None) -> list[tuple[str, Any, dict[str, Any]]]:
    return [(m.role, m.content, dict(m.extra or {})) for m in read_input(raw, instructions).messages]


def text(kind: str, said: str) -> dict[str, str]:
    return {"type": kind, "text": said}


def test_roles_instructions_and_parts_become_chat() -> None:
    image = {"type": "input_image", "image_url": "data:,", "detail": "low"}
    assert told(
        [
            {"role": "developer", "content": "be kind"},
            {"type": "message", "role": "user", "content": [text("input_text", "sky"), image]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [text("output_text", "It is "), text("output_text", "blue.")],
            },
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "user", "content": [text("input_text", "and"), text("input_text", "gold?")]},
        ],
        "be brief",
    ) == [
        ("system", "be brief", {}),
        ("developer", "be kind", {}),
        (
            "user",
            [text("text", "sky"), {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}}],
            {},
        ),
        ("assistant", "It is blue.", {}),
        ("assistant", "No.", {}),
        ("user", [text("text", "and"), text("text", "gold?")], {}),
    ]


@pytest.mark.parametrize("content", ["sky", [text("input_text", "sky")], [text("text", "sky")]])
def test_one_text_is_one_text_however_it_is_wrapped(content: Any) -> None:
    assert told([{"role": "user", "content": content}]) == told("sky") == [("user", "sky", {})]


def test_words_and_calls_of_one_turn_are_one_message_in_either_order() -> None:
    words = {"role": "assistant", "content": "Wait."}
    for turn in ([words, CALL, {**CALL, "call_id": "c2"}], [CALL, {**CALL, "call_id": "c2"}, words]):
        outputs = [{"type": "function_call_output", "call_id": f"c{n}", "output": "done"} for n in (1, 2)]
        _, said, *results = told([USER, *turn, *outputs])
        assert said[:2] == ("assistant", "Wait.")
        assert [call["id"] for call in said[2]["tool_calls"]] == ["c1", "c2"]
        assert results == [("tool", "done", {"tool_call_id": "c1"}), ("tool", "done", {"tool_call_id": "c2"})]


def test_a_call_after_results_is_a_turn_of_its_own() -> None:
    output = {"type": "function_call_output", "call_id": "c1", "output": [text("input_text", "done")]}
    roles = [role for role, _, _ in told([USER, CALL, output, {**CALL, "call_id": "c2"}])]
    assert roles == ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize(
    ("raw", "param", "says"),
    [
        (None, "input", "text or a non-empty list"),
        ([], "input", "text or a non-empty list"),
        (5, "input", "text or a non-empty list"),
        (["sky"], "input[0]", "must be an object"),
        ([{"role": "assistant", "content": "x"}], "input", "add one (nothing is stored here"),
        ([{"role": "owner", "content": "x"}], "input[0].role", "one of user, assistant"),
        ([{"role": ["user"], "content": "x"}], "input[0].role", "one of user, assistant"),
        ([{"role": "user"}], "input[0].content", "text or a list of parts"),
        ([{"role": "user", "content": ["x"]}], "input[0].content[0]", "with a type"),
        ([{"role": "user", "content": [{"type": "input_text"}]}], "input[0].content[0]", "must hold text"),
        ([{"role": "user", "content": [{"type": "input_file"}]}], "input[0].content[0].type", "input_image"),
        (
            [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}],
            "input[0].content[0].image_url",
            "files are not stored",
        ),
        (
            [{"role": "user", "content": [{"type": "input_image", "image_url": "u", "detail": 1}]}],
            "input[0].content[0].detail",
            "must be text",
        ),
        ([USER, {"type": "item_reference", "id": "msg_1"}], "input[1]", "send the whole conversation"),
        ([USER, {"type": "web_search_call"}], "input[1].type", "one of message, function_call"),
        ([USER, {"type": 5}], "input[1].type", "one of message"),
        ([USER, {**CALL, "call_id": ""}], "input[1].call_id", "not empty"),
        ([USER, {**CALL, "name": 5}], "input[1].name", "must be text"),
        ([USER, {**CALL, "arguments": {}}], "input[1].arguments", "text that holds JSON"),
        (
            [USER, {"type": "function_call_output", "call_id": "c9", "output": "x"}],
            "input[1].call_id",
            "send the whole conversation",
        ),
        ([USER, CALL, {"type": "function_call_output", "call_id": "c1"}], "input[2].output", "text or a list"),
    ],
)
def test_a_bad_item_is_named_with_what_would_be_right(raw: object, param: str, says: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_input(raw, None)
    assert caught.value.param == param
    assert says in caught.value.message


def test_instructions_must_be_text_and_empty_ones_are_none() -> None:
    with pytest.raises(BadRequest, match="instructions must be text"):
        read_input("sky", ["be brief"])
    assert told("sky", "") == [("user", "sky", {})]


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"max_output_tokens": 0}, "max_output_tokens", "max_output_tokens must be a whole number"),
        ({"temperature": 3}, "temperature", "from 0 to 2"),
        ({"top_p": "x"}, "top_p", "from 0 to 1"),
        ({"top_logprobs": 3}, "top_logprobs", "not served"),
        ({"include": ["message.output_text.logprobs"]}, "include", "not served"),
        ({"store": "yes"}, "store", "true or false"),
        ({"user": 5}, "user", "text"),
        ({"metadata": [1]}, "metadata", "values are texts"),
        ({"metadata": {"a": 1}}, "metadata", "values are texts"),
        ({"tools": {}}, "tools", "a list"),
        ({"tools": ["f"]}, "tools[0]", "an object"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "no other tool is run here"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "not empty"),
        ({"tools": [{**TOOL, "parameters": []}]}, "tools[0].parameters", "JSON schema"),
        ({"tool_choice": "required"}, "tool_choice", "tools holds none"),
        ({"tool_choice": 5}, "tool_choice", "none, auto, required"),
        ({"tool_choice": "sometimes"}, "tool_choice", "none, auto, required"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice", "not in tools"),
        ({"text": "json"}, "text", "must be an object"),
        ({"text": {"format": "json"}}, "text.format", "json_schema with name and schema"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format", "json_schema with name"),
        ({"text": {"format": {"type": "xml"}}}, "text.format", "of the type text"),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls", "true or false"),
    ],
)
def test_a_bad_parameter_is_named_as_the_client_knows_it(body: dict[str, Any], param: str, says: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_settings(body)
    assert caught.value.param == param
    assert says in caught.value.message


def test_formats_and_tools_become_chat() -> None:
    schema = {"type": "object"}
    format = {"type": "json_schema", "name": "city", "schema": schema, "strict": True, "description": None}
    nested = {"type": "function", "function": {"name": "f", "parameters": schema}}
    parameters, _ = read_settings(
        {
            "text": {"format": format},
            "tools": [{**TOOL, "parameters": schema, "strict": None}],
            "tool_choice": "required",
        }
    )
    assert parameters == {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "city", "schema": schema, "strict": True},
        },
        "tools": [nested],
        "tool_choice": "required",
    }
    chosen = {"type": "function", "function": {"name": "f"}}
    parameters, _ = read_settings({"tools": [nested], "tool_choice": chosen})
    assert parameters == {"tools": [nested], "tool_choice": chosen}
    for plain in ({}, {"text": {"format": {"type": "text"}}, "tools": [], "tool_choice": "auto"}):
        assert read_settings(plain)[0] == {}


PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["input_text", "output_text", "input_image", "refusal", "image_url", "x"]) | JSON},
    optional={"text": JSON, "refusal": JSON, "image_url": JSON | st.just("data:,"), "detail": JSON},
)
ITEM = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(
            ["message", "function_call", "function_call_output", "reasoning", "item_reference"]
        )
        | JSON,
        "role": st.sampled_from(["user", "assistant", "system", "developer"]) | JSON,
        "content": st.text(max_size=9) | st.lists(PART | JSON, max_size=3) | JSON,
        "call_id": st.sampled_from(["a", "b"]) | JSON,
        "name": st.just("f") | JSON,
        "arguments": st.just("{}") | JSON,
        "output": st.text(max_size=5) | st.lists(PART, max_size=2) | JSON,
    },
)
INPUT = st.text(max_size=9) | st.lists(ITEM | JSON, max_size=4).map(lambda items: [*items, USER]) | JSON
TOOLS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.just("function") | JSON,
            "name": st.just("f") | JSON,
            "parameters": JSON,
            "function": JSON | st.just({"name": "f"}),
        },
    ),
    max_size=2,
)
BODY = st.fixed_dictionaries(
    {},
    optional={
        "input": INPUT,
        "instructions": st.text(max_size=5) | JSON,
        "tools": TOOLS | JSON,
        "tool_choice": st.sampled_from(["auto", "required", {"type": "function", "name": "f"}]) | JSON,
        "text": st.fixed_dictionaries(
            {},
            optional={
                "format": JSON | st.fixed_dictionaries({"type": st.just("json_schema") | JSON, "name": JSON})
            },
        )
        | JSON,
        **dict.fromkeys(("model", "stream", "stream_options", "temperature", "top_p", "metadata", "user"), JSON),
        **dict.fromkeys(("max_output_tokens", "store", "background", "include", "stop", "seed"), JSON),
        **dict.fromkeys(("prompt", "echo", "suffix", "logprobs", "n", "best_of", "max_tokens"), JSON),
        **dict.fromkeys(("parallel_tool_calls", "previous_response_id", "conversation"), JSON),
    },
)


@settings(max_examples=300, deadline=None)
@given(INPUT, st.none() | st.text(max_size=5))
def test_whatever_input_passes_is_a_chat_that_engines_can_read(raw: object, instructions: str | None) -> None:
    try:
        conversation = read_input(raw, instructions)
    except BadRequest:
        return
    called: set[str] = set()
    for message in conversation.messages:
        assert message.content is None or isinstance(message.content, str | list)
        assert isinstance(message.text, str)
        if message.role == "tool":
            assert (message.extra or {})["tool_call_id"] in called
        called |= {call["id"] for call in (message.extra or {}).get("tool_calls", ())}
        assert message.content is not None or message.extra


async def test_no_malformed_body_is_a_failure_of_ours(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, httpx.AsyncClient(base_url=stage.url, timeout=60) as client:
        loop = asyncio.get_running_loop()
        seen: set[int] = set()

        @settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
        @given(BODY | JSON, st.sampled_from(["/v1/responses", "/v1/completions"]))
        def attack(body: object, path: str) -> None:
            asked = asyncio.run_coroutine_threadsafe(client.post(path, content=json.dumps(body)), loop)
            answer = asked.result(60)
            seen.add(answer.status_code)
            assert answer.status_code in (200, 400, 403, 404), (answer.status_code, body, answer.text)
            if answer.status_code != 200:
                assert set(answer.json()["error"]) == {"message", "type", "param", "code"}

        await asyncio.to_thread(attack)
        assert {200, 400} <= seen
        assert all(backend.open_streams == 0 for backend in stage.backends.values())


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/completions"])
@pytest.mark.parametrize("raw", [b"", b"[]", b'{"input": NaN}', b'{"input": "\xff"}', b'{"input": "\\ud800"}'])
async def test_bytes_that_are_no_json_object_are_refused(tmp_path: Path, path: str, raw: bytes) -> None:
    async with staged(tmp_path) as stage, httpx.AsyncClient(base_url=stage.url, timeout=60) as client:
        answer = await client.post(path, content=raw)
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_a_long_history_of_items_is_read_whole(tmp_path: Path) -> None:
    items: list[dict[str, Any]] = [USER]
    for turn in range(300):
        items += [
            {**CALL, "call_id": f"c{turn}"},
            {"type": "function_call_output", "call_id": f"c{turn}", "output": "ok"},
        ]
    async with staged(tmp_path) as stage, httpx.AsyncClient(base_url=stage.url, timeout=60) as client:
        assert (await client.post("/v1/responses", json={"input": items})).status_code == 200
        assert len(_prompt_of(stage)) == 601


def _prompt_of(stage: Stage) -> tuple[Any, ...]:
    return stage.backends["first"].prompts[0].messages
