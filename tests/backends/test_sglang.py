"""Our SGLang driver against the fake: the name behind the colon, the closed registry, errors, loads, probes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.backends.sglang import SglangBackend
from router.core.blend import Blend
from router.core.errors import (
    BackendBroken,
    BackendFailed,
    BackendOverloaded,
    BackendRefused,
    BackendUnreachable,
    BlendUnavailable,
)
from router.core.reply import Event, Finish, Inventory, Probe, Usage
from tests.backends.fake_sglang import FakeSglang
from tests.backends.prompts import ACADEMIC, BASE, CORE, PHYSICS, SOURCES, SPORT, collect, pour, prompt, shape

SERVED = {
    PHYSICS.id: "core+physics-0123456789ab",
    CORE.id: "core-0123456789ab",
    ACADEMIC.id: "academic-ba9876543210",
}


@pytest.fixture
async def fake() -> AsyncIterator[FakeSglang]:
    async with FakeSglang(adapters={name: f"/blends/{name}" for name in SERVED.values()}) as server:
        yield server


@asynccontextmanager
async def client(fake: FakeSglang, *, look: bool = True, **options: Any) -> AsyncIterator[SglangBackend]:
    options.setdefault("published", SERVED)
    backend = SglangBackend("primary", fake.url, **options)
    try:
        if look:
            await backend.inventory()
        yield backend
    finally:
        await backend.aclose()


async def test_the_request_is_the_one_sglang_reads(fake: FakeSglang) -> None:
    async with client(fake) as backend:
        text, events = await collect(
            backend.stream(prompt(temperature=0.0, max_completion_tokens=9, user="someone", n=2))
        )
    (seen,) = fake.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.body == {
        "model": "base-model:core+physics-0123456789ab",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Why is the sky blue?"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.0,
        "max_tokens": 9,
    }
    assert text == f"{SERVED[PHYSICS.id]} says word0 word1 word2"
    assert events[-2:] == [Finish("stop"), Usage(7, 4)]


async def test_the_isolated_adapter_is_asked_alone_by_its_own_name(fake: FakeSglang) -> None:
    async with client(fake) as backend:
        text, _ = await collect(backend.stream(prompt(ACADEMIC)))
    assert text.startswith(SERVED[ACADEMIC.id])
    assert fake.models_asked == ["base-model:academic-ba9876543210"]
    assert "core" not in str(fake.seen[0].body)


async def test_the_fake_answers_the_bare_adapter_name_from_the_base_as_sglang_does(fake: FakeSglang) -> None:
    """Shows that the tests here could fail: a client that sent the name as /v1/models shows it would hear this."""
    async with client(fake) as backend:
        backend._model = lambda served: served  # type: ignore[method-assign]
        text, events = await collect(backend.stream(prompt()))
    assert text.startswith("BASE")
    assert Finish("stop") in events


weights = st.dictionaries(
    st.sampled_from(sorted(SOURCES)), st.sampled_from([-1.0, 0.5, 0.8, 1.0]), min_size=1, max_size=3
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(weights, min_size=1, max_size=6))
async def test_no_name_is_ever_bare_and_no_unknown_blend_is_ever_sent(
    fake: FakeSglang, chosen: list[dict[str, float]]
) -> None:
    fake.seen.clear()
    async with client(fake) as backend:
        for members in [*chosen, CORE.weights]:
            blend = Blend.of(BASE, members, SOURCES)
            if blend.id in SERVED:
                assert (await collect(backend.stream(prompt(blend))))[0].startswith(SERVED[blend.id])
            else:
                with pytest.raises(BlendUnavailable, match="nothing was sent"):
                    await collect(backend.stream(prompt(blend)))
    asked = [str(model) for model in fake.models_asked]
    assert asked
    assert {model.partition(":")[0] for model in asked} == {"base-model"}
    assert {model.partition(":")[2] for model in asked} <= {*SERVED.values()}


async def test_only_what_was_built_and_is_held_is_served(fake: FakeSglang) -> None:
    del fake.adapters[SERVED[CORE.id]]
    fake.adapters["core"] = "/raw/core"
    async with client(fake) as backend:
        found = await backend.inventory()
    assert found == Inventory(published={blend: SERVED[blend] for blend in (PHYSICS.id, ACADEMIC.id)})


async def test_without_a_manifest_the_names_are_the_engines_own(fake: FakeSglang) -> None:
    fake.adapters = {"core": "/raw/core"}
    async with client(fake, published=None) as backend:
        assert (await backend.inventory()) == Inventory(names=frozenset({"core"}))
        await collect(backend.stream(prompt(CORE)))
    assert fake.models_asked == ["base-model:core"]


async def test_a_base_with_a_colon_in_its_name_is_refused(fake: FakeSglang) -> None:
    fake.base = "org/model:latest"
    async with client(fake, look=False) as backend:
        with pytest.raises(BackendBroken, match="--served-model-name"):
            await backend.inventory()
        with pytest.raises(BlendUnavailable):
            await collect(backend.stream(prompt()))
    assert fake.seen == []


@pytest.mark.parametrize("in_the_stream", [False, True])
async def test_an_adapter_unloaded_since_the_last_look_is_a_blend_unavailable(
    fake: FakeSglang, in_the_stream: bool
) -> None:
    async with client(fake) as backend:
        if in_the_stream:  # as older servers say it: 200, then the error
            fake.fault, fake.event_at = "event", 0
            fake.event = (400, "The following requested LoRA adapters are not loaded: x\nLoaded adapters: y.")
        else:
            fake.adapters.clear()
        with pytest.raises(BlendUnavailable, match="given this adapter up"):
            await collect(backend.stream(prompt()))
    assert len(fake.seen) == 1


async def test_a_dead_engine_is_forgotten_until_it_answers_again(fake: FakeSglang) -> None:
    async with client(fake) as backend:
        await fake.__aexit__()
        with pytest.raises(BackendUnreachable):
            await backend.inventory()
        with pytest.raises(BlendUnavailable):
            await collect(backend.stream(prompt()))
        await fake.__aenter__()
        await backend.inventory()
        assert (await collect(backend.stream(prompt())))[0].startswith(SERVED[PHYSICS.id])


@pytest.mark.parametrize(
    ("fault", "kind", "status", "deltas"),
    [
        ("die", BackendBroken, 502, 1),
        ("die first", BackendUnreachable, 502, 0),
        ("event", BackendBroken, 502, 1),
        ("401", BackendBroken, 502, 0),
        ("404", BackendBroken, 502, 0),
        ("429", BackendOverloaded, 429, 0),
        ("500", BackendBroken, 502, 0),
        ("503", BackendUnreachable, 502, 0),
    ],
)
async def test_failures(fake: FakeSglang, fault: str, kind: type[BackendFailed], status: int, deltas: int) -> None:
    found: list[Event] = []
    async with client(fake) as backend:
        fake.fault = fault
        with pytest.raises(kind) as caught:
            await pour(backend.stream(prompt()), found)
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.backend, shape(found)) == (status, "primary", "D" * deltas)
    if fault == "429":
        assert "failed with 429" in caught.value.message, "the flat error body is read"


async def test_a_context_that_is_too_long(fake: FakeSglang) -> None:
    async with client(fake) as backend:
        with pytest.raises(BackendRefused) as caught:
            await collect(backend.stream(prompt(max_tokens=5000)))
    assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")


async def test_an_adapter_is_loaded_and_unloaded_while_it_runs(fake: FakeSglang) -> None:
    fake.adapters.clear()
    fake.folders = {"/blends/p"}
    async with client(fake) as backend:
        await backend.load(SERVED[PHYSICS.id], "/blends/p")
        assert fake.seen[-1].body == {"lora_name": SERVED[PHYSICS.id], "lora_path": "/blends/p"}
        assert (await backend.inventory()).serves(PHYSICS)
        with pytest.raises(BackendRefused, match=r"cannot load .*is already loaded"):
            await backend.load(SERVED[PHYSICS.id], "/blends/p")
        with pytest.raises(BackendRefused, match="neither a folder"):
            await backend.load("new", "/nowhere")
        await backend.unload(SERVED[PHYSICS.id])
        assert not (await backend.inventory()).serves(PHYSICS)
        with pytest.raises(BackendRefused, match="is not loaded"):
            await backend.unload(SERVED[PHYSICS.id])


@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize("blend", [None, PHYSICS])
async def test_a_probe_is_the_greedy_completion_of_exactly_one_speaker(
    fake: FakeSglang, blend: Blend | None, cold: bool
) -> None:
    async with client(fake) as backend:
        tokens = await backend.probe(Probe("Why is it", 3, blend, cold))
        with pytest.raises(BlendUnavailable):
            await backend.probe(Probe("Why is it", blend=SPORT))
    (seen,) = fake.seen
    assert seen.path == "/v1/completions"
    assert seen.body == {
        "model": "base-model" if blend is None else f"base-model:{SERVED[blend.id]}",
        "prompt": "Why is it",
        "max_tokens": 3,
        "temperature": 0,
        "repetition_penalty": 1,
        "logprobs": 5,
        **({"echo": True} if cold else {}),
    }
    who = "BASE" if blend is None else SERVED[blend.id]
    assert [token.text for token in tokens] == [f" {who}{place}.0" for place in range(3)], "no echoed token"
    assert [len(token.top) for token in tokens] == [5, 5, 5]
    assert tokens[0].logprob == pytest.approx(-1.6094379)  # ln(6/30)
