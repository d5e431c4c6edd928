"""Engine errors -> our tree: every status and body that TGI's sources name."""

from __future__ import annotations

import pytest

from router.backends.failures import answered, failure
from router.core.errors import (
    BackendBroken,
    BackendFailed,
    BackendOverloaded,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
)


@pytest.mark.parametrize(
    ("status", "body", "kind", "shown"),
    [
        (429, '{"error":"Model is overloaded","error_type":"overloaded"}', BackendOverloaded, 429),
        (429, "", BackendOverloaded, 429),
        (422, '{"error":"Input validation error: x","error_type":"validation"}', BackendRefused, 422),
        (422, "Failed to deserialize the JSON body", BackendRefused, 422),
        (400, "Failed to parse the request body as JSON", BackendRefused, 400),
        (413, "length limit exceeded", BackendRefused, 413),
        (415, "Expected request with `Content-Type: application/json`", BackendBroken, 502),
        (424, '{"error":"Request failed during generation","error_type":"generation"}', BackendBroken, 502),
        (500, '{"error":"Incomplete generation","error_type":"incomplete_generation"}', BackendBroken, 502),
        (500, "", BackendBroken, 502),
        (401, "", BackendBroken, 502),
        (403, "forbidden", BackendBroken, 502),
        (404, "", BackendBroken, 502),
        (307, "", BackendBroken, 502),
        (502, "<html>Bad Gateway</html>", BackendUnreachable, 502),
        (503, '{"error":"unhealthy","error_type":"healthcheck"}', BackendUnreachable, 502),
        (504, "", BackendTimeout, 504),
        (400, '{"error":{"message":"no such parameter","type":"x","code":null}}', BackendRefused, 400),
    ],
)
def test_answers(status: int, body: str, kind: type[BackendFailed], shown: int) -> None:
    wrong = answered("primary", status, body)
    assert type(wrong) is kind
    assert wrong.status == shown
    assert wrong.message.startswith("primary: ")
    assert wrong.try_next is (kind is not BackendRefused)


def test_a_rejected_key_is_our_fault_and_says_so() -> None:
    assert "rejects our key" in answered("primary", 401, "").message


def test_an_overload_says_when_to_come_back() -> None:
    assert answered("primary", 429, "").retry_after == 1.0


def test_a_context_overflow_has_openais_code() -> None:
    text = (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4090 `inputs` tokens"
    )
    wrong = failure("primary", text)
    assert (wrong.code, wrong.param) == ("context_length_exceeded", "messages")


def test_long_messages_are_cut() -> None:
    assert len(failure("primary", "x" * 10_000).message) < 600
