"""The real litellm against the fake TGI over HTTP: exact templates, stand-ins, failures."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from router.backends.litellm import LitellmBackend
from router.backends.timeouts import Timeouts
from router.core.blend import Blend
from router.core.errors import (
    BackendBroken,
    BackendFailed,
    BackendOverloaded,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    BlendUnavailable,
)
from router.core.reply import Delta, Event, Finish, Inventory, Usage
from router.core.trace import under
from tests.backends.fake_tgi import FakeTgi
from tests.backends.prompts import ACADEMIC, CORE, PHYSICS, SPORT, collect, pour, prompt, shape, traced, until

NAMES = [PHYSICS.id, "core"]


@pytest.fixture
async def fake() -> AsyncIterator[FakeTgi]:
    async with FakeTgi(names=[*NAMES, "some-model"]) as server:
        yield server


@asynccontextmanager
async def exact(fake: FakeTgi, **options: Any) -> AsyncIterator[LitellmBackend]:
    backend = LitellmBackend(
        "other", "openai/{blend}", stand_in=False, names=NAMES, api_base=f"{fake.url}/v1", api_key="k", **options
    )
    try:
        yield backend
    finally:
        await backend.aclose()


@asynccontextmanager
async def stand_in(fake: FakeTgi) -> AsyncIterator[LitellmBackend]:
    backend = LitellmBackend("other", "openai/some-model", stand_in=True, api_base=f"{fake.url}/v1", api_key="k")
    try:
        yield backend
    finally:
        await backend.aclose()


async def test_a_template_asks_for_exactly_the_blend(fake: FakeTgi) -> None:
    async with exact(fake) as backend:
        assert await backend.inventory() == Inventory(names=frozenset(NAMES))
        text, events = await collect(backend.stream(prompt(PHYSICS, temperature=0.0, max_tokens=9)))
        await collect(backend.stream(prompt(CORE)))
    assert text == f"{PHYSICS.id} says word0 word1 word2"
    assert events[-2:] == [Finish("stop"), Usage(7, 4)]
    assert fake.models_asked == [PHYSICS.id, "core"]
    assert fake.seen[0].body["temperature"] == 0.0
    assert fake.seen[0].body["max_tokens"] == 9


async def test_an_engine_of_ours_hears_of_the_trace_and_a_stranger_does_not(fake: FakeTgi) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with exact(fake) as ours, stand_in(fake) as stranger:
        await collect(ours.stream(prompt(CORE)))
        with under(traced(parent)):
            await collect(ours.stream(prompt(CORE)))
            await collect(stranger.stream(prompt(CORE)))
    assert [seen.headers.get("traceparent") for seen in fake.seen] == [None, parent, None]
    assert [seen.headers.get("x-request-id") for seen in fake.seen] == ["req-1", "req-1", None]


@pytest.mark.parametrize("blend", [SPORT, ACADEMIC])
async def test_a_blend_outside_the_registry_is_never_sent(fake: FakeTgi, blend: Blend) -> None:
    async with exact(fake) as backend:
        with pytest.raises(BlendUnavailable, match=blend.id.replace("+", r"\+")):
            await collect(backend.stream(prompt(blend)))
    assert fake.seen == []


async def test_a_stand_in_answers_for_anything_that_is_not_isolated(fake: FakeTgi) -> None:
    async with stand_in(fake) as backend:
        assert await backend.inventory() == Inventory(stand_in=True)
        text, _ = await collect(backend.stream(prompt(SPORT)))
        with pytest.raises(BlendUnavailable, match="never speaks for an isolated adapter"):
            await collect(backend.stream(prompt(ACADEMIC)))
    assert text.startswith("some-model says")
    assert fake.models_asked == ["some-model"]


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        ("openai/{blend}", {"stand_in": True, "names": NAMES}, "no stand-in"),
        ("openai/{blend}", {"stand_in": False}, "name them all"),
        ("openai/gpt", {"stand_in": False}, "must be called one"),
        ("openai/gpt", {"stand_in": True, "names": NAMES}, "cannot serve"),
        ("openai/{blend}", {"stand_in": False, "names": [""]}, "default model"),
        ("huggingface/{blend}", {"stand_in": False, "names": NAMES, "api_base": "http://x"}, "blocks the service"),
    ],
)
def test_what_could_let_another_model_speak_is_refused(model: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LitellmBackend("other", model, **options)


def test_without_a_word_the_template_says_what_it_is() -> None:
    assert LitellmBackend("other", "openai/gpt")._inventory == Inventory(stand_in=True)
    assert LitellmBackend("other", "openai/{blend}", names=["a"])._inventory == Inventory(names=frozenset({"a"}))


@pytest.mark.parametrize(
    ("fault", "kind", "status", "deltas"),
    [
        ("overloaded", BackendOverloaded, 429, 0),
        ("validation", BackendRefused, 422, 0),
        ("too long", BackendRefused, 400, 0),
        ("template", BackendRefused, 422, 0),
        ("generation", BackendBroken, 502, 1),
        ("garbage", BackendBroken, 502, 1),
        ("die", BackendBroken, 502, 1),
        ("no finish", BackendBroken, 502, 1),
        ("die first", BackendUnreachable, 502, 0),
        ("empty", BackendBroken, 502, 0),
        ("429", BackendOverloaded, 429, 0),
        ("422", BackendRefused, 422, 0),
        ("400 text", BackendRefused, 400, 0),
        ("424", BackendBroken, 502, 0),
        ("500", BackendBroken, 502, 0),
        ("401", BackendBroken, 502, 0),
        ("404", BackendBroken, 502, 0),
        ("503", BackendUnreachable, 502, 0),
    ],
)
async def test_failures_are_ours_and_nothing_is_tried_twice(
    fake: FakeTgi, fault: str, kind: type[BackendFailed], status: int, deltas: int
) -> None:
    fake.fault, fake.between_delay = fault, 0.05
    found: list[Event] = []
    async with exact(fake) as backend:
        with pytest.raises(kind) as caught:
            await pour(backend.stream(prompt()), found)
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert caught.value.backend == "other"
    assert "litellm" not in caught.value.message
    assert shape(found) == "D" * deltas
    assert len(fake.seen) == 1


async def test_a_context_overflow_has_openais_code(fake: FakeTgi) -> None:
    fake.fault = "too long"
    async with exact(fake) as backend:
        with pytest.raises(BackendRefused) as caught:
            await collect(backend.stream(prompt()))
    assert caught.value.code == "context_length_exceeded"


async def test_a_dead_provider_is_unreachable() -> None:
    async with FakeTgi() as gone:
        pass
    async with exact(gone) as backend:
        with pytest.raises(BackendUnreachable):
            await collect(backend.stream(prompt()))


async def test_a_slow_first_token_is_a_timeout(fake: FakeTgi) -> None:
    fake.first_delay, fake.comments = 30.0, 300
    async with exact(fake, timeouts=Timeouts(first_token=0.5)) as backend:
        with pytest.raises(BackendTimeout, match="no first token"):
            await collect(backend.stream(prompt()))
    await until(lambda: fake.seen[0].disconnected)


async def test_a_pause_between_tokens_is_a_timeout(fake: FakeTgi) -> None:
    fake.between_delay, fake.comments = 30.0, 300
    found: list[Event] = []
    async with exact(fake, timeouts=Timeouts(first_token=20.0, between_tokens=0.3)) as backend:
        with pytest.raises(BackendTimeout, match="no next token"):
            await pour(backend.stream(prompt()), found)
    assert shape(found) == "D"


async def test_closing_the_iterator_frees_the_engine(fake: FakeTgi) -> None:
    fake.held = asyncio.Event()
    async with exact(fake) as backend:
        stream = backend.stream(prompt())
        assert isinstance(await anext(stream), Delta)
        await stream.aclose()
        await until(lambda: fake.seen[0].disconnected and fake.running == 0)


def test_loading_the_library_asks_the_network_for_nothing() -> None:
    """By itself it fetches a price map from GitHub when it is imported."""
    code = (
        "import os, socket, sys\n"
        "def refuse(*where, **more):\n"
        "    print('asked for', where[:2])\n"
        "    raise OSError('no network in this test')\n"
        "socket.getaddrinfo = socket.socket.connect = refuse\n"
        "from router.backends.litellm import _load\n"
        "assert _load().suppress_debug_info\n"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LITELLM")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200, env=clean)
    assert done.stdout == ""


def test_nothing_heavy_is_imported_before_a_request_is_sent() -> None:
    """In a process of its own: this one has imported them already."""
    code = (
        "import sys\n"
        "import router.backends.tgi\n"
        "from router.backends.hub import HubBackend\n"
        "from router.backends.litellm import LitellmBackend\n"
        "HubBackend('spare', 'https://endpoint.example', ['core'])\n"
        "LitellmBackend('other', 'openai/gpt', stand_in=True)\n"
        "heavy = {'litellm', 'openai', 'huggingface_hub', 'torch', 'transformers'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.strip() == "[]"
