"""The real huggingface_hub against the fake TGI over HTTP: its habits, and how the backend deals with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from typing import Any

import pytest
from huggingface_hub import AsyncInferenceClient

from router.backends.hub import HubBackend
from router.backends.timeouts import Timeouts
from router.core.conversation import Message
from router.core.errors import (
    BackendBroken,
    BackendFailed,
    BackendOverloaded,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    BlendUnavailable,
)
from router.core.reply import Delta, Event, Finish, Probe, Usage
from router.core.trace import under
from tests.backends.fake_tgi import FakeTgi
from tests.backends.prompts import ACADEMIC, CORE, PHYSICS, SPORT, collect, pour, prompt, shape, traced, until

NAMES = [PHYSICS.id, "core"]


@pytest.fixture
async def fake() -> AsyncIterator[FakeTgi]:
    async with FakeTgi(names=list(NAMES)) as server:
        yield server


@asynccontextmanager
async def client(fake: FakeTgi, **options: Any) -> AsyncIterator[HubBackend]:
    backend = HubBackend("spare", fake.url, NAMES, **options)
    try:
        yield backend
    finally:
        await backend.aclose()


def parent(number: int) -> str:
    return f"00-{number:032x}-{number:016x}-01"


def kept(client: AsyncInferenceClient) -> int:
    """Return how many callbacks the client holds until it is closed (a private field: there is no public one)."""
    return len(client.exit_stack._exit_callbacks)  # type: ignore[attr-defined]


async def test_an_answer_comes_from_the_asked_blend_and_the_model_is_always_named(fake: FakeTgi) -> None:
    async with client(fake) as backend:
        text, events = await collect(backend.stream(prompt(PHYSICS, temperature=0.0, stop="END")))
        await collect(backend.stream(prompt(CORE)))
    assert text == f"{PHYSICS.id} says word0 word1 word2"
    assert events[-2:] == [Finish("stop"), Usage(7, 4)]
    assert fake.models_asked == [PHYSICS.id, "core"]
    assert fake.seen[0].body["temperature"] == 0.0
    assert fake.seen[0].body["stop"] == ["END"]


async def test_a_developer_is_a_system_to_chat_templates(fake: FakeTgi) -> None:
    said = replace(
        prompt(PHYSICS), messages=(Message("developer", "Be brief."), Message("user", "hi", {"name": "u"}))
    )
    async with client(fake) as backend:
        await collect(backend.stream(said))
    assert fake.seen[0].body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"name": "u", "role": "user", "content": "hi"},
    ]


async def test_the_library_alone_names_a_dummy_that_the_engine_answers_from_the_base(fake: FakeTgi) -> None:
    """Why the model is always named."""
    async with AsyncInferenceClient(base_url=fake.url, api_key="k") as alone:
        answer = await alone.chat_completion(messages=[{"role": "user", "content": "hello"}])
    assert fake.models_asked == ["dummy"]
    assert str(answer.choices[0].message.content).startswith("BASE")


@pytest.mark.parametrize("blend", [SPORT, ACADEMIC])
async def test_a_blend_outside_the_registry_is_never_sent(fake: FakeTgi, blend: Any) -> None:
    async with client(fake) as backend:
        with pytest.raises(BlendUnavailable, match="nothing was sent"):
            await collect(backend.stream(prompt(blend)))
    assert fake.seen == []


@pytest.mark.parametrize("names", [["tgi"], ["dummy"], [""], []])
def test_names_that_would_mean_the_base_are_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match="must name adapters"):
        HubBackend("spare", "https://endpoint.example", names)


@pytest.mark.parametrize("url", ["endpoint.example", "https://endpoint.example/v1"])
def test_unusable_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        HubBackend("spare", url, NAMES)


# What a request is called, and whose child it is.


async def test_every_call_says_its_own_id_and_trace_and_nobody_elses(fake: FakeTgi) -> None:
    async def ask(number: int) -> None:
        with under(traced(parent(number))) if number % 2 else nullcontext():
            answer, _ = await collect(backend.stream(prompt(request_id=f"dec_{number}")))
        assert answer.startswith(PHYSICS.id)

    async with client(fake, api_key="hf_given") as backend:
        await asyncio.gather(*map(ask, range(12)))
        await backend.probe(Probe("The sky", 2, PHYSICS))
    asked, probed = fake.seen[:12], fake.seen[12]
    assert {seen.headers["x-request-id"]: seen.headers.get("traceparent") for seen in asked} == {
        f"dec_{number}": parent(number) if number % 2 else None for number in range(12)
    }
    assert {"x-request-id", "traceparent"}.isdisjoint(probed.headers)
    assert {seen.headers["authorization"] for seen in fake.seen} == {"Bearer hf_given"}


# The leak.


async def test_the_library_keeps_something_of_every_stream_until_it_is_closed(fake: FakeTgi) -> None:
    """The claim that the recycling rests on. When this fails, huggingface_hub is mended and recycling can go."""
    fake.words = 0
    async with AsyncInferenceClient(base_url=fake.url, api_key="k") as alone:
        for _ in range(200):
            chunks = await alone.chat_completion(
                messages=[{"role": "user", "content": "hello"}], model="core", stream=True
            )
            assert [chunk async for chunk in chunks]
        assert kept(alone) >= 200
    assert kept(alone) == 0


async def test_over_200_streams_the_backend_keeps_a_bounded_number(fake: FakeTgi) -> None:
    fake.words = 0
    most, clients = 0, set()
    async with client(fake, recycle_after=20) as backend:
        for _ in range(200):
            await collect(backend.stream(prompt()))
            most = max(most, sum(kept(lease.client) for lease in backend._leases))
            clients |= {id(lease.client) for lease in backend._leases}
            assert len(backend._leases) <= 1
    assert 0 < most <= 20
    assert len(clients) > 1


async def test_a_client_is_not_closed_under_a_running_stream(fake: FakeTgi) -> None:
    fake.held = asyncio.Event()
    async with client(fake, recycle_after=2) as backend:
        running = [asyncio.create_task(collect(backend.stream(prompt()))) for _ in range(5)]
        await until(lambda: fake.running == 5)
        assert len(backend._leases) == 3  # 2 + 2 + 1
        fake.held.set()
        answers = await asyncio.gather(*running)
        assert len(backend._leases) == 1
    assert all(text.startswith(PHYSICS.id) for text, _ in answers)


# The machine's own token.


async def test_a_token_of_this_machine_never_travels(fake: FakeTgi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_machine")
    async with AsyncInferenceClient(base_url=fake.url) as alone:  # shows that the library alone would send it
        await alone.chat_completion(messages=[{"role": "user", "content": "hello"}], model="core")
    async with client(fake) as backend:
        await collect(backend.stream(prompt()))
    async with client(fake, api_key="hf_given") as backend:
        await collect(backend.stream(prompt()))
    sent = [seen.headers.get("authorization") for seen in fake.seen]
    assert sent == ["Bearer hf_of_this_machine", None, "Bearer hf_given"]


# Failures.


@pytest.mark.parametrize(
    ("fault", "kind", "status", "deltas"),
    [
        ("overloaded", BackendOverloaded, 429, 0),
        ("validation", BackendRefused, 422, 0),
        ("template", BackendRefused, 422, 0),
        ("generation", BackendBroken, 502, 1),
        ("garbage", BackendBroken, 502, 1),
        ("die", BackendBroken, 502, 1),
        ("no finish", BackendBroken, 502, 1),
        ("die first", BackendUnreachable, 502, 0),
        ("empty", BackendUnreachable, 502, 0),
        ("429", BackendOverloaded, 429, 0),
        ("422", BackendRefused, 422, 0),
        ("422 text", BackendRefused, 422, 0),
        ("400 text", BackendRefused, 400, 0),
        ("424", BackendBroken, 502, 0),
        ("500", BackendBroken, 502, 0),
        ("401", BackendBroken, 502, 0),
        ("404", BackendBroken, 502, 0),
        ("503", BackendUnreachable, 502, 0),
    ],
)
async def test_failures(fake: FakeTgi, fault: str, kind: type[BackendFailed], status: int, deltas: int) -> None:
    fake.fault, fake.between_delay = fault, 0.05
    found: list[Event] = []
    async with client(fake) as backend:
        with pytest.raises(kind) as caught:
            await pour(backend.stream(prompt()), found)
        assert type(caught.value) is kind
        assert caught.value.status == status
        assert caught.value.backend == "spare"
        assert shape(found) == "D" * deltas
        fake.fault = ""
        assert (await collect(backend.stream(prompt())))[0].startswith(PHYSICS.id)


async def test_a_refusal_carries_the_engines_own_words(fake: FakeTgi) -> None:
    fake.fault = "too long"
    async with client(fake) as backend:
        with pytest.raises(BackendRefused, match="must be <= 4096") as caught:
            await collect(backend.stream(prompt()))
    assert caught.value.code == "context_length_exceeded"


async def test_health(fake: FakeTgi) -> None:
    async with client(fake) as backend:
        assert (await backend.inventory()).names == frozenset(NAMES)
        fake.healthy = False
        with pytest.raises(BackendUnreachable, match="503"):
            await backend.inventory()


async def test_a_dead_endpoint_is_unreachable() -> None:
    async with FakeTgi() as gone:
        pass
    async with client(gone) as backend:
        with pytest.raises(BackendUnreachable):
            await backend.inventory()
        with pytest.raises(BackendUnreachable):
            await collect(backend.stream(prompt()))


async def test_a_slow_first_token_is_a_timeout_and_keep_alives_do_not_count(fake: FakeTgi) -> None:
    fake.first_delay, fake.comments = 30.0, 300
    async with client(fake, timeouts=Timeouts(first_token=0.5)) as backend:
        with pytest.raises(BackendTimeout, match="no first token"):
            await collect(backend.stream(prompt()))
    await until(lambda: fake.seen[0].disconnected)


async def test_a_pause_between_tokens_is_a_timeout(fake: FakeTgi) -> None:
    fake.between_delay, fake.comments = 30.0, 300
    found: list[Event] = []
    async with client(fake, timeouts=Timeouts(first_token=20.0, between_tokens=0.3)) as backend:
        with pytest.raises(BackendTimeout, match="no next token"):
            await pour(backend.stream(prompt()), found)
        await until(lambda: fake.seen[0].disconnected)
    assert shape(found) == "D"


@pytest.mark.parametrize("others", [0, 2])
async def test_closing_the_iterator_frees_the_engine(fake: FakeTgi, others: int) -> None:
    fake.held = asyncio.Event()
    async with client(fake) as backend:
        running = [asyncio.create_task(collect(backend.stream(prompt()))) for _ in range(others)]
        await until(lambda: fake.running == others)
        stream = backend.stream(prompt())
        assert isinstance(await anext(stream), Delta)
        await stream.aclose()
        await until(lambda: fake.seen[-1].disconnected and fake.running == others)
        fake.held.set()
        assert all(text.startswith(PHYSICS.id) for text, _ in await asyncio.gather(*running))
