"""Whatever an engine says, whole or in pieces, is events and tokens of the right kind, or BackendFailed: no engine
can bring the router down, fill its memory, or be misread because of where its bytes were cut.
"""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.backends.chat_events import ChatEvents, SseLines
from router.backends.failures import answered
from router.backends.http_engine import HttpEngine
from router.backends.llamacpp import LlamaCppBackend
from router.backends.model_list import read_models
from router.backends.token_logprobs import llama_tokens, openai_tokens, tgi_tokens
from router.channels.answers import collect
from router.channels.json_body import written
from router.core.errors import BackendBroken, BackendFailed
from router.core.reply import Delta, Event, Finish, Usage
from router.stream import Reply
from tests.fuzz.values import DEEP, JSON, near

NUMBERS: Any = st.sampled_from([float("inf"), float("nan"), -1, 2**70, "7", None, True, [], 1.5])
CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
CHUNK = {
    "model": "m",
    "choices": [{"index": 0, "delta": {"content": "x", "tool_calls": [CALL]}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    "error": None,
}
CHUNKS = near(CHUNK) | JSON
LINE = st.sampled_from(
    [b"data: ", b"data:", b"data", b"event: x", b": keep-alive", b"", b"\xef\xbb\xbfdata: ", b"id: 1"]
)
PAYLOAD = CHUNKS.map(lambda chunk: json.dumps(chunk).encode()) | st.sampled_from(
    [b"[DONE]", DEEP, b"{", b"\xff\xfe"]
)


async def _events(events: Iterable[Event]) -> Any:
    for event in events:
        yield event


def heard(stream: bytes, cuts: Iterable[int] = ()) -> tuple[list[Event], str | None]:
    """Return the events of `stream`, cut there, and the failure that ended it."""
    reading, found, begin = ChatEvents("engine"), list[Event](), 0
    try:
        for end in [*sorted(min(cut, len(stream)) for cut in cuts), len(stream)]:
            found += reading.feed(stream[begin:end])
            begin = end
        found += reading.close()
    except BackendFailed as failed:
        return found, f"{type(failed).__name__}: {failed}"
    return found, None


@given(
    st.lists(
        st.tuples(LINE, PAYLOAD, st.sampled_from([b"\n", b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n"])), max_size=6
    )
)
async def test_any_stream_is_sound_events_or_a_failure_of_the_engine(
    lines: list[tuple[bytes, bytes, bytes]],
) -> None:
    found, _ = heard(b"".join(b"".join(line) for line in lines))
    for event in found:
        match event:
            case Delta(content=content):
                assert isinstance(content, str)
            case Finish(reason=reason):
                assert isinstance(reason, str)
            case Usage(prompt_tokens=asked, completion_tokens=said):
                assert type(asked) is type(said) is int
                assert asked >= 0 <= said
    json.loads(written([call for event in found if isinstance(event, Delta) for call in event.tool_calls or ()]))
    whole = await collect(Reply("engine", False, _events(found)))
    assert isinstance(whole.text, str)
    assert json.loads(written(whole.calls), parse_constant=pytest.fail) == whole.calls


@given(
    st.lists(st.tuples(LINE, PAYLOAD, st.sampled_from([b"\n", b"\n\n", b"\r\n\r\n"])), max_size=5),
    st.lists(st.integers(0, 3000), max_size=8),
)
def test_where_the_bytes_are_cut_changes_nothing(lines: list[tuple[bytes, bytes, bytes]], cuts: list[int]) -> None:
    stream = b"".join(b"".join(line) for line in lines)
    whole, cut = heard(stream), heard(stream, cuts)
    assert cut[1] == whole[1]
    assert cut[0] == whole[0] or (whole[1] is not None and cut[0][: len(whole[0])] == whole[0])


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_garbage_is_a_failure_of_the_engine(raw: bytes, cuts: list[int]) -> None:
    found, failed = heard(raw, cuts)
    assert (found, failed is None) == ([], False)


@pytest.mark.parametrize(
    "line", [b"data:\n", b"data\n", b": x\n", b"\r\n", b"data: x\n", b"x" * 99, b"id: " + b"x" * 99]
)
def test_no_stream_fills_the_memory(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that never ends is broken off; what is no event is not kept."""
    longest = 64 * 1024
    monkeypatch.setattr("router.backends.chat_events.LONGEST_EVENT", longest)
    lines, piece = SseLines(), line * (longest // 8 // len(line))
    tracemalloc.start()
    try:
        for _ in range(400):
            lines.feed(piece)
    except ValueError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 * longest


@given(near({"data": [{"id": "base"}, {"id": "core", "parent": "base"}]}) | JSON)
def test_a_list_of_models_is_names_or_broken(answer: Any) -> None:
    try:
        models = read_models("engine", answer)
    except BackendBroken:
        return
    assert isinstance(models.base, str)
    assert all(isinstance(name, str) for name in models.adapters)
    assert models.base not in models.adapters


TOP = [{"text": "a", "token": "a", "logprob": -0.5}]
TOKEN = {"text": "a", "token": "a", "logprob": -0.5, "top_logprobs": TOP}
COLUMNS = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"a": -0.5}]}


@given(
    near({"details": {"tokens": [TOKEN], "top_tokens": [TOP]}})
    | near({"choices": [{"logprobs": COLUMNS}], "usage": {"completion_tokens": 1}})
    | near([TOKEN])
    | JSON,
    st.booleans(),
)
def test_logprobs_are_numbers_or_broken(answer: Any, echoed: bool) -> None:
    for read in (tgi_tokens, llama_tokens, lambda name, said: openai_tokens(name, said, echoed=echoed)):
        try:
            tokens = read("engine", answer)
        except BackendBroken:
            continue
        assert tokens
        for token in tokens:
            assert isinstance(token.text, str)
            assert all(value <= 1e-3 for value in (token.logprob, *token.top.values()))  # a NaN proves nothing


@given(st.integers(300, 599), JSON.map(json.dumps) | st.text(max_size=50) | st.just(DEEP.decode()))
def test_any_error_of_an_engine_is_a_failure_with_a_short_message(status: int, body: str) -> None:
    failed = answered("engine", status, body)
    assert len(failed.message) < 700


@given(JSON.map(json.dumps).map(str.encode) | st.binary(max_size=40) | st.just(DEEP))
def test_any_body_is_json_or_broken(body: bytes) -> None:
    engine = HttpEngine("engine", "http://127.0.0.1:1")
    try:
        engine._parsed("/x", body)
    except BackendBroken:
        return


@given(near([{"id": 0, "path": "core-0123456789ab.gguf", "scale": 1.0}]) | JSON)
async def test_llama_cpps_list_of_adapters_is_names_or_broken(listed: Any) -> None:
    backend = LlamaCppBackend("engine", "http://127.0.0.1:1", expected={"core": "core-0123456789ab"})

    async def read(path: str) -> Any:
        return listed

    backend._engine.read = read  # type: ignore[method-assign]
    try:
        inventory = await backend.inventory()
    except BackendFailed:
        return
    assert inventory.sums is not None
    assert inventory.sums <= {"core"}
