"""What a stranger writes into a request: directives in hostile Unicode, bodies, headers, parameters.

Each is understood, or refused by the right kind of Refused; an isolated adapter stays alone; and the time grows
with the length and no faster.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from router.channels.json_body import read_object, written
from router.channels.openai import read_model
from router.channels.parameters import read_parameters
from router.channels.request_id import RequestIds
from router.channels.responses_input import read_input
from router.channels.responses_request import read_settings
from router.channels.wire import bearer, header_text, read_messages
from router.core.conversation import Conversation, Message
from router.core.decide import decide
from router.core.directive import hear
from router.core.errors import BadRequest, Refused, Unauthenticated
from router.core.key import decision_key
from router.core.modes import Modes
from router.core.reading import asked_by_model, read
from router.core.scores import Scores
from router.core.subject import subject_of
from router.keys_file import Keys
from router.lemmas import RussianLemmatizer
from router.policy_file import resolve
from router.yaml_text import parse_yaml
from tests.core.switcher import modes
from tests.core.utterances import HEARD
from tests.fuzz.malformed import VALID
from tests.fuzz.values import JSON, near
from tests.stubs import POLICY

SECRET = b"a secret for tests only, 32 bytes"
POLICIES = resolve(parse_yaml(POLICY.encode(), "policy"))
PROFILE = POLICIES.profile("default", None)
MODES = Modes.of(PROFILE, RussianLemmatizer())

UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u061c\u180e\ufe0f\u202a\u202b\u202d\u202e\u2066\u2069"
ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
QUOTES = "\"'`«»„“”‘’‹›『』(){}[]<>"
PIECES = st.sampled_from(
    [
        *("режим", "mode", "/mode", "включи", "switch to", "выключить"),
        *("turn off", "в режиме", ":", "+", ",", "и", "-"),
        *("физика", "физикой", "physics", "sport", "академический"),
        *("academic", "core", "агоге", "авто", "off", "нечто"),
        *("объясни", "почему", "?", "!", ".", "```\n", "> "),
        *("    ", "\t", "🙂", "@agoge", "**", "# ", "\ud800", "\x00"),
        *("e\u0301" * 9, "й", "ﬁ", "ℵ", "𝐦𝐨𝐝𝐞", "ｍｏｄｅ", "mоde", "ΜΟDΕ", "İ", "ß", "ﷺ", "\u0600", "١", "²"),
        *UNSEEN, *ENDS, *QUOTES,
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES | st.just(" ") | st.text(max_size=5), max_size=25).map("".join)


@given(TEXTS)
def test_any_text_has_a_directive_or_none(text: str) -> None:
    heard = hear(text, MODES)
    if heard is None:
        return
    assert heard.directive.names <= {"core", "physics", "sport", "academic"}
    assert len(heard.directive.rest) <= len(text)
    if heard.refusal is not None:
        assert len(heard.refusal.message) < 2000
        assert heard.refusal.status in (400, 403, 404)


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), TEXTS), min_size=1, max_size=5), TEXTS)
def test_whatever_is_said_isolated_speech_is_alone(said: list[tuple[str, str]], model: str) -> None:
    conversation = Conversation(tuple(Message(role, text) for role, text in said))
    try:
        reading = read(conversation, model if len(model) < 9 else None, MODES)
    except Refused as refused:
        assert 400 <= refused.status < 500  # noqa: PT017 - many are refused, for what the user did
        return
    decision = decide(PROFILE, Scores({"physics": 0.6, "sport": 0.3}), reading.asked)
    assert decision.blend.weights
    assert decision.blend.alone == ("academic" in decision.blend.weights)
    assert not decision.blend.alone or decision.blend.weights.keys() == {"academic"}
    revisions = {"policy_revision": "p", "classifier_fingerprint": "c", "tenant": "t", "role": None}
    assert len(decision_key(SECRET, asked=reading.asked, prefix=reading.prefix(None), **revisions)) == 32


@given(st.sampled_from(HEARD), st.data())
def test_what_nobody_sees_changes_no_directive(case: Any, data: st.DataObject) -> None:
    text = case[0]
    plain = hear(text, modes())
    at = data.draw(st.integers(0, len(text)))
    dressed = text[:at] + data.draw(st.text(st.sampled_from(UNSEEN), min_size=1, max_size=4)) + text[at:]
    heard = hear(dressed, modes())
    assert (heard and heard.directive.names) == (plain and plain.directive.names)


def seconds(run: Callable[[str], object], text: str) -> float:
    """Return the processor time that reading `text` takes at its quickest."""
    taken = []
    for _ in range(2):
        started = time.process_time()
        run(text)
        taken.append(time.process_time() - started)
    return min(taken)


LONG = (
    *("режим: физика ", "режим: ", "/mode ", "((((", "«"),
    *("\"'`", "> режим: физика\n", "```\nmode: x\n", "~~~", "- a: b\n"),
    *("и физика", "+физика", ", физика", "\u200b", "\u202e", "е\u0301"),
    *("\n", "\r\n\u2028", " ", "-", "a-", "🙂", "@agoge "),
    *("включи режим ", "физика режим ", "mode: off\n", "turn off "),
    *("**", "x=1\n", "key: value\n", "Агоге, ", "пожалуйста "),
    *("http://a.b/c?d=e ", "<a>", "\\", "\ud800", "ﷺ", "1.1", "'’", "спасибо, ", "а подробнее? ", "kak nakachat "),
)  # fmt: skip


@pytest.mark.parametrize("piece", LONG, ids=[ascii(piece) for piece in LONG])
@pytest.mark.parametrize("run", [lambda text: hear(text, MODES), subject_of], ids=["directive", "subject"])
def test_the_time_grows_with_the_length_and_no_faster(piece: str, run: Callable[[str], object]) -> None:
    """Sixteen times the text: sixteen times the work, 256 times where a step is quadratic."""
    run(piece * 10)  # what is remembered per word is so now
    short, long = (seconds(run, "почему небо " + piece * (size // len(piece))) for size in (2_000, 32_000))
    assert long < 100 * max(short, 0.001), (short, long)


@given(st.binary(max_size=80) | (near(VALID["/v1/chat/completions"][2]) | JSON).map(json.dumps).map(str.encode))
def test_any_body_is_an_object_or_a_bad_request(raw: bytes) -> None:
    try:
        body = read_object(raw)
    except BadRequest as refused:
        assert len(refused.message) < 400  # noqa: PT017 - most are refused, and say so shortly
        return
    assert read_object(written(body)) == body


@given(near(VALID["/v1/chat/completions"][0]) | near(VALID["/v1/responses"][1]))
def test_any_fields_are_read_or_a_bad_request(body: Any) -> None:
    if not isinstance(body, dict):
        return
    for reader in (read_parameters, read_settings, read_model):
        try:
            found = reader(body)
        except BadRequest as refused:
            assert len(refused.message) < 400  # noqa: PT017 - most are refused, and say so shortly
            continue
        if reader is read_parameters:
            for name, low, high in (("temperature", 0, 2), ("top_p", 0, 1), ("max_tokens", 1, 2**31)):
                assert low <= found.get(name, low) <= high
                assert math.isfinite(found.get(name, low))
            assert type(found.get("max_tokens", 1)) is type(found.get("seed", 1)) is int
    for reading, field in ((read_messages, "messages"), (lambda raw: read_input(raw, None), "input")):
        try:
            conversation = reading(body.get(field))
        except BadRequest:
            continue
        assert all(isinstance(message.text, str) for message in conversation.messages)


@given(st.text(max_size=60) | TEXTS)
def test_any_model_is_known_or_refused(name: str) -> None:
    try:
        asked = asked_by_model(name, MODES)
    except Refused as refused:
        assert refused.status in (400, 403, 404)  # noqa: PT017 - most are refused
        return
    assert asked is None or asked <= {"core", "physics", "sport", "academic"}


LATIN = st.binary(max_size=60)


@given(LATIN, LATIN)
async def test_any_header_is_borne(key: bytes, id: bytes) -> None:
    """Bytes as ASGI hands them on: no key but the right one is let in, no name but a plain one comes back."""
    headers = [(b"authorization", key), (b"x-request-id", id), (b"x-request-id", key)]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    with pytest.raises(Unauthenticated):
        Keys({"0" * 64: ("default", None)}).identify(bearer(Request(scope)))
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    await RequestIds(app)(scope, None, send)  # type: ignore[arg-type]
    named = dict(sent[0]["headers"])[b"x-request-id"].decode()
    assert named == header_text(named)
    assert 0 < len(named) <= 128
    assert named.startswith("req_") or named.encode() in (key, id)
