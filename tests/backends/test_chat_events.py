"""The event-stream decoder against the grammar of the standard and the dialects of TGI. No network."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.backends.chat_events import LONGEST_EVENT, ChatEvents, SseLines
from router.core.errors import BackendBroken, BackendFailed, BackendOverloaded, BackendRefused, BackendUnreachable
from router.core.reply import Delta, Event, Finish, Usage


def chunk(content: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    delta = {} if content is None else {"role": "assistant", "content": content}
    choice = {"index": 0, "delta": {**delta, **more.pop("delta", {})}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], **more}, ensure_ascii=False).encode() + b"\n\n"


def read(stream: bytes) -> list[Event]:
    events = ChatEvents("primary")
    return events.feed(stream) + events.close()


COUNT = b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = chunk("Не") + chunk("бо", usage=None) + chunk("!", "stop") + COUNT + DONE
EVENTS = [Delta("Не"), Delta("бо"), Delta("!"), Finish("stop"), Usage(7, 2)]


def test_a_whole_answer() -> None:
    assert read(WHOLE) == EVENTS


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_cut_at_any_byte_with_any_line_end_and_with_or_without_the_space(
    cuts: list[int], newline: bytes, space: bool
) -> None:
    stream = WHOLE.replace(b"\n", newline)
    if not space:
        stream = stream.replace(b"data: ", b"data:")
    stream = stream.replace(newline * 2, newline * 2 + b": keep-alive" + newline * 2 + b":" + newline)
    events, found, begin = ChatEvents("primary"), [], 0
    for end in [*sorted(min(cut, len(stream)) for cut in cuts), len(stream)]:
        found += events.feed(stream[begin:end])
        begin = end
    assert found + events.close() == EVENTS


def test_data_over_several_lines_is_joined_as_the_standard_says() -> None:
    # The example of the WHATWG standard, section 9.2.6: two data lines make one event "YHOO\n+2".
    lines = SseLines()
    assert lines.feed(b"data: YHOO\ndata: +2\n\ndata\n: test\nid: 1\ndata:  two spaces\n\n") == [
        b"YHOO\n+2",
        b" two spaces",
    ]
    pretty = b'data: {"choices":\ndata:  [{"delta": {"content": "x"}, "finish_reason": "stop"}]}\n\n'
    assert read(pretty) == [Delta("x"), Finish("stop")]


def test_the_last_event_may_lack_its_blank_line() -> None:
    assert read(chunk("x", "stop").rstrip(b"\n")) == [Delta("x"), Finish("stop")]


def test_role_only_and_empty_chunks_are_no_tokens() -> None:
    assert read(chunk(delta={"role": "assistant"}) + chunk("") + chunk("x", "length")) == [
        Delta("x"),
        Finish("length"),
    ]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "stop"),
        ("stop_sequence", "stop"),
        ("eos_token", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "tool_calls"),
    ],
)
def test_finish_reasons_are_openais(theirs: str, ours: str) -> None:
    assert read(chunk("x", theirs))[-1] == Finish(ours)


@pytest.mark.parametrize("as_list", [True, False])
def test_tool_calls_are_a_list_and_finish_as_tool_calls(as_list: bool) -> None:
    call = {"index": 0, "function": {"name": "f", "arguments": "{}"}}
    stream = chunk(delta={"tool_calls": [call] if as_list else call}) + chunk(finish="eos_token")
    assert read(stream) == [Delta("", [call]), Finish("tool_calls")]


def test_usage_comes_last_and_once_even_where_every_chunk_counts() -> None:
    counted: dict[str, Any] = {"usage": {"prompt_tokens": 7, "completion_tokens": 1}}
    stream = chunk("x", **counted) + chunk("y", "stop", usage={"prompt_tokens": 7, "completion_tokens": 2}) + DONE
    assert read(stream) == [Delta("x"), Delta("y"), Finish("stop"), Usage(7, 2)]


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ({"message": "Model is overloaded", "http_status_code": 422}, BackendOverloaded, 429),
        ({"message": "Input validation error: `top_p` must be", "http_status_code": 422}, BackendRefused, 422),
        ({"message": "Template error: conversation roles must alternate"}, BackendRefused, 422),
        ({"message": "Request failed during generation: OOM", "http_status_code": 422}, BackendBroken, 502),
        ({"message": "Incomplete generation stream", "http_status_code": 422}, BackendBroken, 502),
        ({"message": "who knows", "http_status_code": 422}, BackendBroken, 502),
        ({"message": "bad", "code": 400, "type": "BadRequestError"}, BackendRefused, 400),
    ],
)
def test_error_events_become_our_tree(error: dict[str, Any], kind: type[BackendFailed], status: int) -> None:
    events = ChatEvents("primary")
    with pytest.raises(kind) as caught:
        events.feed(b"data:" + json.dumps({"error": error}).encode() + b"\n\n" + DONE)
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert caught.value.backend == "primary"
    assert error["message"] in caught.value.message


@pytest.mark.parametrize(
    ("error_type", "kind"),
    [
        ("overloaded", BackendOverloaded),
        ("validation", BackendRefused),
        ("generation", BackendBroken),
        ("incomplete_generation", BackendBroken),
    ],
)
def test_error_events_of_the_generate_route(error_type: str, kind: type[BackendFailed]) -> None:
    with pytest.raises(kind):
        read(b'data: {"error": "no reason given", "error_type": "' + error_type.encode() + b'"}\n\n')


@pytest.mark.parametrize(
    ("stream", "kind", "says"),
    [
        (chunk("x"), BackendBroken, "broke off"),
        (chunk("x") + DONE, BackendBroken, "broke off"),
        (DONE, BackendBroken, "broke off"),
        (b"", BackendUnreachable, "before the first event"),
        (b": keep-alive\n\n", BackendUnreachable, "before the first event"),
        (b'data: {"choices": [\n\n', BackendBroken, "not a JSON object"),
        (b"data: 17\n\n", BackendBroken, "not a JSON object"),
        (b"data: \xff\n\n", BackendBroken, "not a JSON object"),
        (b'data: {"choices": ["x"]}\n\n', BackendBroken, "not a chat.completion.chunk"),
        (b'data: {"choices": 1}\n\n', BackendBroken, "not a chat.completion.chunk"),
        (chunk(delta={"content": ["x"]}), BackendBroken, "not a chat.completion.chunk"),
        (
            b'data: {"choices": [], "usage": {"prompt_tokens": 1}}\n\n',
            BackendBroken,
            "not a chat.completion.chunk",
        ),
    ],
)
def test_what_is_not_a_whole_answer_raises(stream: bytes, kind: type[BackendFailed], says: str) -> None:
    with pytest.raises(kind, match=says) as caught:
        read(stream)
    assert type(caught.value) is kind


def test_an_endless_event_is_cut_off() -> None:
    events = ChatEvents("primary")
    assert events.feed(b"data: " + b"x" * (LONGEST_EVENT - 6)) == []
    with pytest.raises(BackendBroken, match="longer than"):
        events.feed(b"x")


def test_nothing_after_done_is_read() -> None:
    assert read(chunk("x", "stop") + DONE + chunk("ghost")) == [Delta("x"), Finish("stop")]


def test_only_the_expected_speaker_is_heard_and_only_the_first_chunk_is_asked() -> None:
    chunk = {"model": "core", "choices": [{"delta": {"content": "a"}}]}
    events = ChatEvents("primary")
    events.speaker = "core"
    assert events.take(chunk) == [Delta("a")]
    assert events.take({**chunk, "model": "another"}) == [Delta("a")], "an engine does not change within an answer"
    for other in ({**chunk, "model": "base"}, {"choices": chunk["choices"]}):
        events = ChatEvents("primary")
        events.speaker = "core"
        with pytest.raises(BackendBroken, match="not 'core' who was asked"):
            events.take(other)
