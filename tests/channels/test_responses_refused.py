"""What the Responses API refuses, what it cannot give, and engines and clients that leave in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from router.core.errors import BackendBroken, BackendRefused, BackendUnreachable
from router.core.facts import Abandoned, BackendAnswered, RequestRefused
from router.core.reply import Inventory
from tests.channels.test_responses import PATH, client_of, events_in, post
from tests.stage import Stage, staged
from tests.stubs import SpeakingBackend, until


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as live:
        yield live


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
