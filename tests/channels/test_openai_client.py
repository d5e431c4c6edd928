"""openai-python as it is shipped, retries and all: every route answers with the class and the wait it acts on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from router.core.errors import BackendFailed, BackendOverloaded, BackendRefused, BackendTimeout, BackendUnreachable
from router.core.reply import Event, Prompt
from tests.stage import Stage, staged
from tests.stubs import SpeakingBackend

Say = Callable[..., Awaitable[Any]]
KEYS = "keys:\n  sk-right: { tenant: default }\n  sk-child: { tenant: child }\n"
POLICY = """\
version: 1
base: some/base
adapters:
  core:     { from: ./core,     when: always }
  academic: { from: ./academic, when: asked, alone: true }
compose: { at_most: 1 }
backends: [first]
tenants:
  child: { may_ask: [] }
"""


def says(client: openai.AsyncOpenAI, route: str) -> Say:
    """Return one function for one route: `say(model, text)`."""
    if route == "chat":
        return lambda model, text, **more: client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": text}], **more
        )
    if route == "responses":
        return lambda model, text, **more: client.responses.create(model=model, input=text, **more)
    return lambda model, text, **more: client.completions.create(model=model, prompt=text, **more)


ROUTES = ["chat", "responses", "completions"]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, policy=POLICY, backends={"first": SpeakingBackend()}, keys=KEYS) as live:
        yield live


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("stream", [False, True])
async def test_refusals_are_the_right_classes(stage: Stage, route: str, stream: bool) -> None:
    def client(key: str) -> Say:
        made = openai.AsyncOpenAI(base_url=f"{stage.url}/v1", api_key=key, organization="o", project="p")
        return says(made, route)

    right = client("sk-right")
    for say, model, text, more, kind, code in [
        (client("sk-wrong"), "auto", "hi", {}, openai.AuthenticationError, "invalid_api_key"),
        (client("sk-child"), "academic", "hi", {}, openai.PermissionDeniedError, "mode_forbidden"),
        (right, "gpt-nope", "hi", {}, openai.NotFoundError, "model_not_found"),
        (right, "auto", "mode: alchemy", {}, openai.BadRequestError, "unknown_mode"),
        (right, "auto", "hi", {"temperature": 9}, openai.BadRequestError, "invalid_request"),
    ]:
        with pytest.raises(openai.APIStatusError) as caught:
            await say(model, text, stream=stream, **more)
        assert type(caught.value) is kind
        assert caught.value.code == code
        assert caught.value.request_id
    assert stage.backends["first"].prompts == []


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (BackendRefused("tool schema", status=422), openai.UnprocessableEntityError),
        (BackendRefused("too long", code="context_length_exceeded"), openai.BadRequestError),
    ],
)
async def test_what_another_try_cannot_help_is_not_tried_again(
    tmp_path: Path, route: str, failure: BackendFailed, kind: type[Exception]
) -> None:
    engine = Recovering(failure, times=1)
    async with staged(tmp_path, policy=POLICY, backends={"first": engine}) as stage:
        client = openai.AsyncOpenAI(base_url=f"{stage.url}/v1", api_key="any", max_retries=3)
        with pytest.raises(kind):
            await says(client, route)("auto", "hi")
        assert engine.asked == 1


class Recovering(SpeakingBackend):
    """Fails `times` times, then speaks."""

    def __init__(self, failure: BackendFailed, times: int) -> None:
        super().__init__()
        self.failure, self.times, self.asked = failure, times, 0

    async def stream(self, prompt: Prompt) -> AsyncIterator[Event]:
        self.asked += 1
        if self.asked <= self.times:
            raise self.failure
        async for event in super().stream(prompt):
            yield event


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("stream", [False, True])
async def test_overload_is_waited_for_as_long_as_the_engine_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, route: str, stream: bool
) -> None:
    engine = Recovering(BackendOverloaded("full", retry_after=0.05), times=2)
    waits: list[float] = []

    async def sleep(seconds: float) -> None:  # the client's own, so that a busy machine changes nothing
        waits.append(seconds)

    monkeypatch.setattr("openai._base_client.anyio.sleep", sleep)
    async with staged(tmp_path, policy=POLICY, backends={"first": engine}) as stage:
        client = openai.AsyncOpenAI(base_url=f"{stage.url}/v1", api_key="any", max_retries=2)
        await says(client, route)("auto", "hi", stream=stream)
    assert engine.asked == 3
    assert waits == [0.05, 0.05]  # its own would begin at half a second and double


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("failure", "kind", "wait"),
    [
        (BackendOverloaded("full", retry_after=2.0), openai.RateLimitError, "2"),
        (BackendUnreachable("no route"), openai.InternalServerError, None),
        (BackendTimeout("slow"), openai.InternalServerError, None),
    ],
)
async def test_what_stays_broken_is_raised_with_the_wait(
    tmp_path: Path, route: str, failure: BackendFailed, kind: type[openai.APIStatusError], wait: str | None
) -> None:
    engine = Recovering(failure, times=9)
    async with staged(tmp_path, policy=POLICY, backends={"first": engine}) as stage:
        client = openai.AsyncOpenAI(base_url=f"{stage.url}/v1", api_key="any", max_retries=0)
        with pytest.raises(kind) as caught:
            await says(client, route)("auto", "hi")
    assert caught.value.response.headers.get("retry-after") == wait
    assert caught.value.response.headers["x-should-retry"] == "true"
