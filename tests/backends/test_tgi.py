"""Our client against the fake TGI: every documented trap, the closed registry, timeouts, disconnects."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.backends.tgi import TgiBackend, parse_lora_adapters
from router.backends.timeouts import Timeouts
from router.core.blend import Blend
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
from router.core.reply import Delta, Event, Finish, Usage
from tests.backends.fake_tgi import FakeTgi
from tests.backends.prompts import (
    ACADEMIC,
    BASE,
    CORE,
    PHYSICS,
    SOURCES,
    SPORT,
    collect,
    pour,
    prompt,
    shape,
    until,
)

NAMES = [PHYSICS.id, "core"]


@pytest.fixture
async def fake() -> AsyncIterator[FakeTgi]:
    async with FakeTgi(names=list(NAMES)) as server:
        yield server


@asynccontextmanager
async def client(fake: FakeTgi, **options: Any) -> AsyncIterator[TgiBackend]:
    backend = TgiBackend("primary", fake.url, NAMES, **options)
    try:
        yield backend
    finally:
        await backend.aclose()


async def test_an_answer_comes_from_the_asked_blend(fake: FakeTgi) -> None:
    async with client(fake) as backend:
        text, events = await collect(backend.stream(prompt(PHYSICS)))
    assert text == f"{PHYSICS.id} says word0 word1 word2"
    assert events[-2:] == [Finish("stop"), Usage(7, 4)]
    assert fake.models_asked == [PHYSICS.id]


async def test_a_single_adapter_is_asked_by_its_name(fake: FakeTgi) -> None:
    async with client(fake) as backend:
        text, _ = await collect(backend.stream(prompt(CORE)))
    assert text.startswith("core says")
    assert fake.models_asked == ["core"]


async def test_the_request_is_the_one_tgi_reads(fake: FakeTgi) -> None:
    said = prompt(
        temperature=0.0, top_p=1, stop="END", max_completion_tokens=9, max_tokens=5, seed=3, presence_penalty=0.5,
        logit_bias={"1": 2}, user="someone", n=1, frequency_penalty=None,
    )  # fmt: skip
    async with client(fake) as backend:
        await collect(backend.stream(said))
    (seen,) = fake.seen
    assert seen.body == {
        "model": PHYSICS.id,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Why is the sky blue?"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.0,
        "stop": ["END"],
        "max_tokens": 9,
        "seed": 3,
    }
    assert seen.headers["x-request-id"] == "req-1"


@pytest.mark.parametrize(
    ("openai", "tgi"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json_object", "value": {"type": "object"}}),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}},
            {"type": "json_object", "value": {"type": "array"}},
        ),
        ({"type": "regex", "value": "a+"}, {"type": "regex", "value": "a+"}),
    ],
)
async def test_response_formats(fake: FakeTgi, openai: dict[str, Any], tgi: object) -> None:
    async with client(fake) as backend:
        await collect(backend.stream(prompt(response_format=openai)))
    assert fake.seen[0].body.get("response_format") == tgi


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


async def test_a_missing_temperature_stays_missing(fake: FakeTgi) -> None:
    async with client(fake) as backend:
        await collect(backend.stream(prompt()))
    assert "temperature" not in fake.seen[0].body


# The closed registry: the worst trap of TGI.


async def test_the_fake_answers_an_unknown_adapter_from_the_base_as_tgi_does(fake: FakeTgi) -> None:
    """Shows that the tests below could fail: a client that forwarded the id would get this answer."""
    careless = TgiBackend("careless", fake.url, [SPORT.id])
    text, events = await collect(careless.stream(prompt(SPORT)))
    await careless.aclose()
    assert text.startswith("BASE")
    assert Finish("stop") in events
    assert fake.models_asked == [SPORT.id]


@pytest.mark.parametrize("blend", [SPORT, ACADEMIC, Blend.of(BASE, {"core": 0.9}, SOURCES)])
async def test_a_blend_outside_the_registry_is_never_sent(fake: FakeTgi, blend: Blend) -> None:
    async with client(fake) as backend:
        with pytest.raises(BlendUnavailable, match="bare base model") as caught:
            await collect(backend.stream(prompt(blend)))
    assert blend.id in caught.value.message
    assert fake.seen == []


weights = st.dictionaries(
    st.sampled_from(sorted(SOURCES)), st.sampled_from([-1.0, 0.5, 0.8, 1.0, 1.5]), min_size=1, max_size=4
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(weights, min_size=1, max_size=8), st.sets(st.sampled_from(["core", "academic", PHYSICS.id, SPORT.id]))
)
def test_no_request_with_an_unknown_blend_ever_reaches_the_engine(
    chosen: list[dict[str, float]], launched: set[str]
) -> None:
    names = sorted(launched | {"core"})

    async def run() -> tuple[FakeTgi, list[str]]:
        texts = []
        async with FakeTgi(names=names, words=0) as server:
            backend = TgiBackend("primary", server.url, names)
            for members in chosen:
                try:
                    texts.append((await collect(backend.stream(prompt(Blend.of(BASE, members, SOURCES)))))[0])
                except BlendUnavailable:
                    continue
            await backend.aclose()
        return server, texts

    server, texts = asyncio.run(run())
    assert set(server.models_asked) <= set(names)
    assert not any(text.startswith("BASE") for text in texts)
    exact: dict[tuple[str, ...], str] = {("core",): "core", ("academic",): "academic"}
    for members in chosen:  # and what the engine does hold is asked for, so the test is not passed by silence
        name = exact.get(tuple(members)) if set(members.values()) == {1.0} else None
        if name in names:
            assert name in server.models_asked


@pytest.mark.parametrize("names", [["tgi"], [""], []])
def test_names_that_would_mean_the_base_are_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"bare base model|no adapter names"):
        TgiBackend("primary", "http://localhost:80", names)


@pytest.mark.parametrize(
    "url", ["localhost:80", "ftp://x", "http://", "http://x/v1", "http://x/v1/", "http://x?a=b"]
)
def test_unusable_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="server"):
        TgiBackend("primary", url, ["core"])


# LORA_ADAPTERS. The first five cases are those of TGI's own server/tests/utils/test_adapter_utils.py.


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("adapter1", ("adapter1",)),
        ("adapter1=path/to/adapter1", ("adapter1",)),
        ("adapter1@main", ("adapter1",)),
        ("adapter1=path/to/adapter1@main", ("adapter1",)),
        ("adapter1,adapter2=path/to/adapter2,adapter3=path/to/adapter3@dev", ("adapter1", "adapter2", "adapter3")),
        (" org/name , core+physics-0123456789ab=/adapters/x ", ("org/name", "core+physics-0123456789ab")),
        ("", ()),
        ("  ", ()),
    ],
)
def test_lora_adapters(text: str, names: tuple[str, ...]) -> None:
    assert parse_lora_adapters(text) == names


@pytest.mark.parametrize(
    "text", ["adapter1,invalid=format=test,adapter3", "a@b@c", "=path", "@main", "a,,b", "a=", "a@", "a=@main"]
)
def test_lora_adapters_that_tgi_would_not_start_with(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid LoRA adapter format"):
        parse_lora_adapters(text)


@pytest.mark.parametrize(("text", "says"), [("a,b,a=/x", "twice"), ("tgi=/x", "bare base model")])
def test_lora_adapters_that_would_speak_as_another(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_lora_adapters(text)


# Health.


async def test_the_inventory_is_what_the_engine_was_launched_with(fake: FakeTgi) -> None:
    async with client(fake) as backend:
        assert (await backend.inventory()).names == frozenset(NAMES)
        fake.healthy = False
        with pytest.raises(BackendUnreachable, match="unhealthy"):
            await backend.inventory()


async def test_a_dead_engine_is_unreachable_and_its_address_stays_private() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        port = taken.getsockname()[1]
        backend = TgiBackend("primary", f"http://127.0.0.1:{port}", NAMES)
        for call in (backend.inventory(), collect(backend.stream(prompt()))):
            with pytest.raises(BackendUnreachable, match="Connection refused") as caught:
                await call
            assert str(port) not in caught.value.message
        await backend.aclose()


# Wire quirks.


@pytest.mark.parametrize("space", [True, False])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("comments", [0, 3])
async def test_every_spelling_of_the_stream(fake: FakeTgi, space: bool, newline: str, comments: int) -> None:
    fake.space, fake.newline, fake.comments = space, newline, comments
    async with client(fake) as backend:
        _, events = await collect(backend.stream(prompt()))
    assert shape(events) == "DDDDFU"


@pytest.mark.parametrize("reason", ["stop_sequence", "eos_token"])
async def test_tgis_finish_reasons(fake: FakeTgi, reason: str) -> None:
    fake.finish_reason = reason
    async with client(fake) as backend:
        _, events = await collect(backend.stream(prompt()))
    assert Finish("stop") in events


async def test_tool_calls_of_an_old_tgi(fake: FakeTgi) -> None:
    fake.tool_call, fake.finish_reason = True, "eos_token"
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    async with client(fake) as backend:
        _, events = await collect(backend.stream(prompt(tools=tools, tool_choice="auto")))
    first = events[0]
    assert isinstance(first, Delta)
    assert first.tool_calls is not None
    assert first.tool_calls[0]["function"]["name"] == "f"
    assert Finish("tool_calls") in events
    assert fake.seen[0].body["tools"] == tools


# Failures: (what the engine does, what we raise, the status a client sees, how many deltas came before).


@pytest.mark.parametrize(
    ("fault", "kind", "status", "deltas"),
    [
        ("overloaded", BackendOverloaded, 429, 0),
        ("validation", BackendRefused, 422, 0),
        ("too long", BackendRefused, 422, 0),
        ("template", BackendRefused, 422, 0),
        ("generation", BackendBroken, 502, 1),
        ("incomplete", BackendBroken, 502, 1),
        ("garbage", BackendBroken, 502, 1),
        ("die", BackendBroken, 502, 1),
        ("no finish", BackendBroken, 502, 1),
        ("die first", BackendUnreachable, 502, 0),
        ("empty", BackendUnreachable, 502, 0),
        ("429", BackendOverloaded, 429, 0),
        ("422", BackendRefused, 422, 0),
        ("422 text", BackendRefused, 422, 0),
        ("400 text", BackendRefused, 400, 0),
        ("413 text", BackendRefused, 413, 0),
        ("415 text", BackendBroken, 502, 0),
        ("424", BackendBroken, 502, 0),
        ("500", BackendBroken, 502, 0),
        ("401", BackendBroken, 502, 0),
        ("403", BackendBroken, 502, 0),
        ("404", BackendBroken, 502, 0),
        ("502", BackendUnreachable, 502, 0),
        ("503", BackendUnreachable, 502, 0),
        ("307", BackendBroken, 502, 0),
    ],
)
async def test_failures(fake: FakeTgi, fault: str, kind: type[BackendFailed], status: int, deltas: int) -> None:
    fake.fault, fake.between_delay = fault, 0.05  # the delay keeps the first delta and the fault apart
    found: list[Event] = []
    async with client(fake) as backend:
        with pytest.raises(kind) as caught:
            await pour(backend.stream(prompt()), found)
        assert type(caught.value) is kind
        assert caught.value.status == status
        assert caught.value.backend == "primary"
        assert shape(found) == "D" * deltas
        fake.fault = ""  # the client is usable afterwards
        assert (await collect(backend.stream(prompt())))[0].startswith(PHYSICS.id)


async def test_a_full_engine(fake: FakeTgi) -> None:
    fake.max_concurrent_requests, fake.held = 1, asyncio.Event()
    async with client(fake) as backend:
        first = asyncio.create_task(collect(backend.stream(prompt())))
        await until(lambda: fake.running == 1)
        with pytest.raises(BackendOverloaded) as caught:
            await collect(backend.stream(prompt()))
        assert caught.value.retry_after
        fake.held.set()
        assert (await first)[0].startswith(PHYSICS.id)


async def test_the_api_key(fake: FakeTgi) -> None:
    fake.api_key = "s3cret"
    async with client(fake, api_key="s3cret") as backend:
        await collect(backend.stream(prompt()))
    async with client(fake, api_key="wrong") as backend:
        with pytest.raises(BackendBroken, match="rejects our key") as caught:
            await collect(backend.stream(prompt()))
    assert "wrong" not in caught.value.message


# Time. Delays are far above the limits, so a loaded machine changes nothing.


async def test_a_slow_first_token_is_a_timeout_and_keep_alives_do_not_count_as_tokens(fake: FakeTgi) -> None:
    fake.first_delay, fake.comments = 30.0, 300
    async with client(fake, timeouts=Timeouts(first_token=0.5, between_tokens=20.0)) as backend:
        with pytest.raises(BackendTimeout, match=r"no first token within 0\.5 s"):
            await collect(backend.stream(prompt()))
    await until(lambda: fake.seen[0].disconnected)


async def test_a_pause_between_tokens_is_a_timeout(fake: FakeTgi) -> None:
    fake.between_delay, fake.comments = 30.0, 300
    found: list[Event] = []
    async with client(fake, timeouts=Timeouts(first_token=20.0, between_tokens=0.3)) as backend:
        with pytest.raises(BackendTimeout, match=r"no next token within 0\.3 s"):
            await pour(backend.stream(prompt()), found)
    assert shape(found) == "D"
    await until(lambda: fake.seen[0].disconnected)


async def test_a_slow_reader_is_not_a_slow_engine(fake: FakeTgi) -> None:
    """The limit starts when the reader asks for more, not when the last piece came."""
    fake.held = asyncio.Event()
    found: list[Event] = []
    async with client(fake, timeouts=Timeouts(between_tokens=2.0)) as backend:
        async for event in backend.stream(prompt()):
            found.append(event)
            if len(found) == 3:  # all that came before the held word
                await asyncio.sleep(2.2)
                fake.held.set()
    assert shape(found) == "DDDDFU"


async def test_an_engine_that_accepts_and_says_nothing_is_a_timeout() -> None:
    silent = await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    limits = Timeouts(connect=0.2, first_token=0.3)
    backend = TgiBackend("primary", f"http://127.0.0.1:{port}", NAMES, timeouts=limits)
    with pytest.raises(BackendTimeout, match="first token"):
        await collect(backend.stream(prompt()))
    with pytest.raises(BackendUnreachable):
        await backend.inventory()
    await backend.aclose()
    silent.close()


@pytest.mark.parametrize("limit", ["connect", "first_token", "between_tokens"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_limits_are_positive(limit: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"timeouts.{limit}"):
        Timeouts(**{limit: value})


# Disconnects and connections.


async def test_closing_the_iterator_frees_the_engine_at_once(fake: FakeTgi) -> None:
    fake.held = asyncio.Event()
    async with client(fake) as backend:
        stream = backend.stream(prompt())
        assert isinstance(await anext(stream), Delta)
        assert fake.running == 1
        await stream.aclose()
        await until(lambda: fake.seen[0].disconnected and fake.running == 0)


async def test_cancelling_the_reader_frees_the_engine_at_once(fake: FakeTgi) -> None:
    fake.first_delay = 30.0
    async with client(fake) as backend:
        reader = asyncio.create_task(collect(backend.stream(prompt())))
        await until(lambda: fake.running == 1)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await until(lambda: fake.seen[0].disconnected and fake.running == 0)


async def test_a_finished_answer_leaves_its_connection_for_the_next() -> None:
    connections = 0

    async with FakeTgi(names=list(NAMES)) as fake:
        target = int(fake.url.rsplit(":", 1)[1])

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", target)

            async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                while piece := await source.read(65536):
                    sink.write(piece)
                sink.close()

            await asyncio.gather(copy(reader, up_writer), copy(up_reader, writer))

        counting = await asyncio.start_server(forward, "127.0.0.1", 0)
        backend = TgiBackend("primary", f"http://127.0.0.1:{counting.sockets[0].getsockname()[1]}", NAMES)
        for _ in range(5):
            await collect(backend.stream(prompt()))
        await backend.aclose()
        counting.close()
    assert connections < 5  # 1, but on a machine so busy that the end of a body takes half a second


async def test_many_at_once(fake: FakeTgi) -> None:
    async with client(fake) as backend:
        answers = await asyncio.gather(*(collect(backend.stream(prompt(blend))) for blend in [PHYSICS, CORE] * 50))
    starts = [text.split()[0] for text, _ in answers]
    assert starts == [PHYSICS.id, "core"] * 50
