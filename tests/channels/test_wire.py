"""Whatever bytes come in: a clear 4xx in OpenAI's form, never a 500, and the connection stays usable."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.channels.json_body import MAX_DEPTH, read_object
from router.channels.parameters import read_parameters
from router.channels.wire import MAX_BODY, header_text, read_messages
from router.core.errors import BadRequest
from router.core.reply import Inventory
from tests.stage import Stage, staged
from tests.stubs import SpeakingBackend

CHAT = "/v1/chat/completions"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as live:
        yield live


async def post(stage: Stage, raw: bytes, path: str = CHAT) -> httpx.Response:
    async with httpx.AsyncClient(base_url=stage.url, timeout=60) as client:
        return await client.post(path, content=raw, headers={"content-type": "application/json"})


def chat(extra: str = "", content: str = '"sky"') -> bytes:
    return f'{{"messages": [{{"role": "user", "content": {content}}}]{extra}}}'.encode()


REFUSED = {
    "empty": (b"", "not JSON"),
    "cut off": (chat()[:-3], "not JSON"),
    "NaN temperature": (chat(', "temperature": NaN'), "NaN is no JSON number"),
    "Infinity": (chat(', "top_p": Infinity'), "Infinity is no JSON number"),
    "-Infinity deep inside": (chat(', "tools": [{"a": [-Infinity]}]'), "-Infinity is no JSON number"),
    "overflow": (chat(', "metadata": {"a": 1e999}'), "1e999 is too large"),
    "endless integer": (chat(', "seed": ' + "9" * 5000), "not JSON"),
    "duplicate key": (chat(', "model": "academic", "model": "auto"'), "'model' stands twice"),
    "invalid UTF-8": (chat(content='"\xff"').replace(b"\xc3\xbf", b"\xff"), "not UTF-8"),
    "UTF-16": (chat().decode().encode("utf-16"), "not UTF-8"),
    "encoded surrogate": (chat(content='"@"').replace(b"@", b"\xed\xa0\x80"), "not UTF-8"),
    "lone surrogate": (chat(content='"\\ud800"'), "surrogate"),
    "lone surrogate in a key": (chat(', "metadata": {"\\udfff": 1}'), "surrogate"),
    "lists in lists": (chat(', "x": ' + "[" * 5000 + "]" * 5000), ""),
    "objects in objects": (chat(', "x": ' + '{"a":' * 80 + "1" + "}" * 80), f"deeper than {MAX_DEPTH}"),
    "a list": (b"[]", "JSON object"),
    "a number": (b"1", "JSON object"),
    "role of a wrong kind": (b'{"messages": [{"role": ["user"], "content": "x"}]}', "role must be"),
    "text of a wrong kind": (chat(content='[{"type": "text", "text": 5}]'), "must hold text"),
    "huge seed": (chat(', "seed": 99999999999999999999'), "seed must be"),
    "huge max_tokens": (chat(', "max_tokens": 99999999999'), "max_tokens must be"),
    "tools that are none": (chat(', "tools": [1]'), "tools must be"),
    "tool_choice of a wrong kind": (chat(', "tool_choice": 5'), "tool_choice must be"),
    "response_format without type": (chat(', "response_format": {}'), "response_format must be"),
    "json_schema of a wrong kind": (
        chat(', "response_format": {"type": "json_schema", "json_schema": "x"}'),
        "response_format must be",
    ),
    "huge model": (chat(', "model": "' + "m" * 5000 + '"'), "model has 5000"),
    "stream_options of a wrong kind": (chat(', "stream": true, "stream_options": [1]'), "stream_options must be"),
}


@pytest.mark.parametrize(("raw", "says"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_be_read_is_a_400_that_says_why(stage: Stage, raw: bytes, says: str) -> None:
    answer = await post(stage, raw)
    assert answer.status_code == 400, answer.text
    assert says in answer.json()["error"]["message"]
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert len(answer.text) < 1500  # an error does not throw the whole request back
    assert all(backend.prompts == [] for backend in stage.backends.values())


TAKEN = {
    "byte order mark": b"\xef\xbb\xbf" + chat(),
    "surrogate pair": chat(content='"sky \\ud83d\\ude00"'),
    "escaped backslash before ud800": chat(content='"sky \\\\ud800"'),
    "null bytes": chat(content='"sky \\u0000 blue"'),
    "empty content": chat(content='""'),
    "empty list of parts": chat(content="[]"),
    "null content": chat(content="null"),
    "nulls everywhere": chat(
        ', "stream": null, "stop": null, "stream_options": null, "temperature": null, "n": null'
    ),
    "unknown parameter": chat(', "\\u0000": {"a": [null]}'),
    "empty model": chat(', "model": ""'),
    "null model": chat(', "model": null'),
    "line and paragraph separators": chat(content='"sky\\u2028\\u2029\\u0085"'),
    "an unknown kind of part": chat(content='[{"type": "video", "x": 1}, {"type": "text", "text": "sky"}]'),
}


@pytest.mark.parametrize("raw", TAKEN.values(), ids=TAKEN.keys())
@pytest.mark.parametrize("stream", [False, True])
async def test_odd_but_right_requests_are_answered(stage: Stage, raw: bytes, stream: bool) -> None:
    if stream and b'"stream"' not in raw:
        raw = raw[:-1] + b', "stream": true}'
    answer = await post(stage, raw)
    assert answer.status_code == 200, answer.text
    assert "says" in answer.text


async def test_the_models_name_comes_back_as_it_was_asked_for(stage: Stage) -> None:
    for model in ("agoge/Физика + core", " PHYSICS+core "):
        told = (await post(stage, chat(f', "model": {json.dumps(model)}'))).json()
        assert told["model"] == model


@pytest.mark.parametrize(
    "model", ["x\r\nset-cookie: a=b", "x\nx-agoge-adapters: core=1.0", "\u0000", "фантом", "<script>", "a" * 999]
)
async def test_a_strange_model_is_not_found_and_gets_into_no_header(stage: Stage, model: str) -> None:
    answer = await post(stage, chat(f', "model": {json.dumps(model)}'))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert "set-cookie" not in answer.headers
    assert "x-agoge-adapters" not in answer.headers


CORE_ONLY = """\
version: 1
base: b
adapters: { core: { from: ./core, when: always } }
compose: { at_most: 1 }
backends: [first, "stub:движок"]
"""


async def test_labels_and_backends_outside_ascii_are_percent_encoded_in_headers(tmp_path: Path) -> None:
    engines = {"first": SpeakingBackend(holds=Inventory()), "stub:движок": SpeakingBackend()}
    async with staged(tmp_path, policy=CORE_ONLY, backends=engines) as stage:
        stage.scorer.words = {"sky": "физика % 1\r\nx: y"}
        for raw in (chat(), chat(', "stream": true')):
            answer = await post(stage, raw)
            assert answer.status_code == 200
            assert answer.headers["x-agoge-label"] == "%D1%84%D0%B8%D0%B7%D0%B8%D0%BA%D0%B0 %25 1%0D%0Ax: y"
            assert answer.headers["x-agoge-backend"] == "stub:%D0%B4%D0%B2%D0%B8%D0%B6%D0%BE%D0%BA"
            assert "x" not in answer.headers


@given(st.text())
def test_header_text_is_visible_ascii_and_can_be_read_back(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    written = header_text(text)
    assert all(" " <= letter <= "~" for letter in written)
    assert unquote(written) == text


async def test_ten_thousand_messages_are_answered(stage: Stage) -> None:
    messages = [{"role": "user" if n % 2 == 0 else "assistant", "content": f"message {n}"} for n in range(10_001)]
    answer = await post(stage, json.dumps({"messages": messages}).encode())
    assert answer.status_code == 200
    assert len(stage.backends["first"].prompts[0].messages) == 10_001


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_a_413_and_the_server_lives_on(stage: Stage, announced: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY // 2**20 + 2):
            yield b" " * 2**20

    async with httpx.AsyncClient(base_url=stage.url, timeout=60) as client:
        content: Any = b" " * (MAX_BODY + 1) if announced else pieces()
        answer = await client.post(CHAT, content=content)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "payload_too_large")
        assert (await client.post(CHAT, content=chat())).status_code == 200
        exact = chat() + b" " * (MAX_BODY - len(chat()))
        assert (await client.post(CHAT, content=exact)).status_code == 200


async def test_a_client_that_waits_for_continue_never_sends_what_is_too_large(stage: Stage) -> None:
    host, port = stage.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: {MAX_BODY + 1}\r\nexpect: 100-continue\r\n\r\n"
    writer.write(head.encode())
    assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 413")
    writer.transport.abort()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    *("model", "messages", "input", "stream", "stream_options", "n", "logprobs", "temperature", "top_p"),
    *("max_tokens", "max_completion_tokens", "stop", "seed", "tools", "tool_choice", "parallel_tool_calls"),
    *("response_format", "frequency_penalty", "presence_penalty", "metadata"),
]
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool", "owner"]) | JSON},
    optional={
        "content": st.text(max_size=20)
        | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": JSON}) | JSON, max_size=3)
        | JSON,
        "tool_calls": JSON,
        "name": JSON,
    },
)
BODY = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4).flatmap(
    lambda body: st.lists(MESSAGE, max_size=3).map(lambda messages: {"messages": messages} | body)
)


async def test_random_bodies_never_break_the_server(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, httpx.AsyncClient(base_url=stage.url, timeout=60) as client:
        loop = asyncio.get_running_loop()

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(BODY | JSON, st.sampled_from([CHAT, "/v1/decisions"]))
        def attack(body: object, path: str) -> None:
            asked = asyncio.run_coroutine_threadsafe(client.post(path, content=json.dumps(body)), loop)
            answer = asked.result(60)
            assert answer.status_code in (200, 400, 403, 404), (answer.status_code, body, answer.text)
            if answer.status_code != 200:
                assert set(answer.json()["error"]) == {"message", "type", "param", "code"}

        await asyncio.to_thread(attack)
        assert all(backend.open_streams == 0 for backend in stage.backends.values())


@given(st.binary(max_size=60))
def test_random_bytes_are_an_object_or_a_bad_request(raw: bytes) -> None:
    with suppress(BadRequest):
        assert isinstance(read_object(raw), dict)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_whatever_parameters_pass_are_finite_and_of_their_kind(body: dict[str, Any]) -> None:
    try:
        found = read_parameters(body)
    except BadRequest:
        return
    assert set(found) <= set(FIELDS)
    for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty"):
        assert math.isfinite(found.get(name, 0))
    assert 1 <= found.get("max_tokens", 1) < 2**31
    assert -(2**63) <= found.get("seed", 0) < 2**63


@given(st.lists(MESSAGE, max_size=3) | JSON)
def test_whatever_messages_pass_have_text(raw: object) -> None:
    try:
        conversation = read_messages(raw)
    except BadRequest:
        return
    assert all(isinstance(message.text, str) for message in conversation.messages)


async def test_a_405_says_what_is_allowed_and_a_broken_host_header_breaks_nothing(stage: Stage) -> None:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        assert (await client.get(CHAT)).headers["allow"] == "POST"
        for path in ("/v1/nothing", "/healthz/", "/v1/models/"):
            answer = await client.get(path, headers={"host": "["}, follow_redirects=False)
            assert answer.status_code == 404, path
            assert answer.json()["error"]["type"] == "invalid_request_error"
