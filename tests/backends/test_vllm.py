"""Our vLLM driver against the fake: golden requests, the closed registry, and an engine that checks no names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from router.backends.timeouts import Timeouts
from router.backends.vllm import NOBODY, VllmBackend
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
from router.core.reply import Event, Finish, Inventory, Probe, Usage
from tests.backends.fake_vllm import FakeVllm
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

SERVED = {
    PHYSICS.id: "core+physics-0123456789ab",
    CORE.id: "core-0123456789ab",
    ACADEMIC.id: "academic-ba9876543210",
}
STALE = "core+physics-ffffffffffff"


@pytest.fixture
async def fake() -> AsyncIterator[FakeVllm]:
    async with FakeVllm(adapters={name: f"/blends/{name}" for name in SERVED.values()}) as server:
        yield server


@asynccontextmanager
async def client(fake: FakeVllm, *, look: bool = True, **options: Any) -> AsyncIterator[VllmBackend]:
    options.setdefault("published", SERVED)
    backend = VllmBackend("primary", fake.url, **options)
    try:
        if look:
            await backend.inventory()
            fake.seen.clear()  # the question for nobody
        yield backend
    finally:
        await backend.aclose()


# What is sent.


async def test_the_request_is_the_one_vllm_reads(fake: FakeVllm) -> None:
    said = prompt(
        temperature=0.0, top_p=1, stop="END", max_completion_tokens=9, max_tokens=5, seed=3, presence_penalty=0.5,
        logit_bias={"1": 2}, response_format={"type": "json_object"}, user="someone", n=2, logprobs=True,
        frequency_penalty=None,
    )  # fmt: skip
    async with client(fake) as backend:
        text, events = await collect(backend.stream(said))
    (seen,) = fake.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.body == {
        "model": SERVED[PHYSICS.id],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Why is the sky blue?"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.0,
        "top_p": 1,
        "stop": "END",
        "max_tokens": 9,
        "seed": 3,
        "presence_penalty": 0.5,
        "logit_bias": {"1": 2},
        "response_format": {"type": "json_object"},
    }
    assert seen.headers["x-request-id"] == "req-1"
    assert text == f"{SERVED[PHYSICS.id]} says word0 word1 word2"
    assert events[-2:] == [Finish("stop"), Usage(7, 4)]


async def test_the_isolated_adapter_is_asked_alone_by_its_own_name(fake: FakeVllm) -> None:
    async with client(fake) as backend:
        text, _ = await collect(backend.stream(prompt(ACADEMIC)))
    assert text.startswith(SERVED[ACADEMIC.id])
    assert fake.models_asked == [SERVED[ACADEMIC.id]]
    assert "core" not in str(fake.seen[0].body)


# The closed registry.


async def test_only_what_was_built_and_is_held_is_served(fake: FakeVllm) -> None:
    del fake.adapters[SERVED[CORE.id]]
    fake.adapters |= {STALE: "/old", "core": "/raw/core"}
    async with client(fake, look=False) as backend:
        found = await backend.inventory()
    assert found == Inventory(published={blend: SERVED[blend] for blend in (PHYSICS.id, ACADEMIC.id)})
    assert not found.serves(CORE), "a bare name says nothing of its content"


async def test_without_a_manifest_the_names_are_the_engines_own(fake: FakeVllm) -> None:
    fake.adapters = {"core": "/raw/core", PHYSICS.id: "/p"}
    async with client(fake, published=None) as backend:
        assert (await backend.inventory()) == Inventory(names=frozenset({"core", PHYSICS.id}))
        text, _ = await collect(backend.stream(prompt(CORE)))
    assert text.startswith("core says")


async def test_the_base_is_never_an_adapter(fake: FakeVllm) -> None:
    fake.base, fake.adapters = "core", {"core": "/raw/core", "academic": "/raw/academic"}
    async with client(fake, published=None) as backend:
        assert (await backend.inventory()).names == frozenset({"academic"})
        with pytest.raises(BlendUnavailable):
            await collect(backend.stream(prompt(CORE)))


@pytest.mark.parametrize("blend", [SPORT, Blend.of(BASE, {"core": 0.9}, SOURCES)])
async def test_a_blend_outside_the_registry_is_never_sent(fake: FakeVllm, blend: Blend) -> None:
    async with client(fake) as backend:
        for asked in (backend.stream(prompt(blend)), backend.stream(prompt(blend))):
            with pytest.raises(BlendUnavailable, match="nothing was sent"):
                await collect(asked)
        with pytest.raises(BlendUnavailable, match="nothing was sent"):
            await backend.probe(Probe("Why", blend=blend))
    assert fake.seen == []


async def test_nothing_is_sent_before_the_engine_was_looked_at(fake: FakeVllm) -> None:
    async with client(fake, look=False) as backend:
        with pytest.raises(BlendUnavailable):
            await collect(backend.stream(prompt()))
        with pytest.raises(BackendUnreachable):
            await backend.probe(Probe("Why"))
    assert fake.seen == []


async def test_an_adapter_unloaded_since_the_last_look_is_a_blend_unavailable(fake: FakeVllm) -> None:
    async with client(fake) as backend:
        fake.adapters.clear()
        with pytest.raises(BlendUnavailable, match="given this adapter up"):
            await collect(backend.stream(prompt()))
        with pytest.raises(BlendUnavailable, match="given this adapter up"):
            await backend.probe(Probe("Why", blend=PHYSICS))


# Trust.


async def test_an_engine_is_asked_once_for_a_name_that_nobody_has(fake: FakeVllm) -> None:
    async with client(fake, look=False) as backend:
        await backend.inventory()
        await backend.inventory()
        assert fake.models_asked == [NOBODY]
        assert fake.seen[0].body["max_tokens"] == 1
        fake.fault = "503"
        await fake.__aexit__()
        with pytest.raises(BackendUnreachable):
            await backend.inventory()
        with pytest.raises(BlendUnavailable):
            await collect(backend.stream(prompt()))
        fake.fault = ""
        await fake.__aenter__()
        await backend.inventory()
        assert fake.models_asked == [NOBODY, NOBODY], "it was away: it may be another engine now"


async def test_an_engine_that_checks_no_names_is_refused(fake: FakeVllm) -> None:
    fake.skips_validation = True
    async with client(fake, look=False) as backend:
        for _ in range(2):
            with pytest.raises(BackendBroken, match="unset VLLM_SKIP_MODEL_NAME_VALIDATION"):
                await backend.inventory()
        with pytest.raises(BlendUnavailable):
            await collect(backend.stream(prompt()))
    assert fake.models_asked == [NOBODY, NOBODY]


async def test_an_engine_that_cannot_say_so_is_not_trusted(fake: FakeVllm) -> None:
    fake.fault = "500"
    async with client(fake, look=False) as backend:
        with pytest.raises(BackendBroken):
            await backend.inventory()
        fake.fault = ""
        assert (await backend.inventory()).serves(PHYSICS)


async def test_an_answer_of_another_speaker_is_broken_off_before_its_first_word(fake: FakeVllm) -> None:
    """The engine was restarted between two looks, without the adapters and without checking names."""
    found: list[Event] = []
    async with client(fake) as backend:
        fake.skips_validation = True
        fake.adapters.clear()
        with pytest.raises(BackendBroken, match=r"'base-model' answers, not 'core\+physics"):
            await pour(backend.stream(prompt()), found)
        with pytest.raises(BackendBroken, match="'base-model' answers"):
            await backend.probe(Probe("Why", blend=PHYSICS))
    assert found == []


async def test_the_fake_would_serve_the_base_to_whoever_trusted_it(fake: FakeVllm) -> None:
    """Shows that the tests above could fail: this is what a careless client would hear."""
    fake.skips_validation = fake.echoes = True
    async with client(fake, look=False) as backend:
        backend._trusted = True  # as if nobody had asked for nobody
        await backend.inventory()
        fake.adapters.clear()
        text, _ = await collect(backend.stream(prompt()))
    assert text.startswith("BASE")


# Failures: (what the engine does, what we raise, the status a client sees, how many deltas came before).


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
async def test_failures(fake: FakeVllm, fault: str, kind: type[BackendFailed], status: int, deltas: int) -> None:
    found: list[Event] = []
    async with client(fake) as backend:
        fake.fault = fault
        with pytest.raises(kind) as caught:
            await pour(backend.stream(prompt()), found)
        assert type(caught.value) is kind
        assert (caught.value.status, caught.value.backend, shape(found)) == (status, "primary", "D" * deltas)
        fake.fault = ""
        assert (await collect(backend.stream(prompt())))[0].startswith(SERVED[PHYSICS.id])


async def test_what_the_engine_finds_wrong_with_a_request(fake: FakeVllm) -> None:
    async with client(fake) as backend:
        with pytest.raises(BackendRefused) as caught:
            await collect(backend.stream(prompt(max_tokens=5000)))
        assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")
        with pytest.raises(BackendRefused, match="temperature") as caught:
            await collect(backend.stream(prompt(temperature=-1)))
        assert (caught.value.status, caught.value.code) == (400, "invalid_request")


async def test_a_slow_first_token_is_a_timeout_and_frees_the_engine(fake: FakeVllm) -> None:
    async with client(fake, timeouts=Timeouts(first_token=0.5)) as backend:
        fake.first_delay = 30
        with pytest.raises(BackendTimeout, match="no first token"):
            await collect(backend.stream(prompt()))
        await until(lambda: fake.seen[0].disconnected and not fake.running)


async def test_hanging_up_frees_the_engine(fake: FakeVllm) -> None:
    async with client(fake) as backend:
        fake.first_delay = 30
        reader = asyncio.create_task(collect(backend.stream(prompt())))
        await until(lambda: fake.running == 1)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await until(lambda: fake.seen[0].disconnected and not fake.running)


async def test_many_at_once(fake: FakeVllm) -> None:
    async with client(fake) as backend:
        answers = await asyncio.gather(
            *(collect(backend.stream(prompt(blend))) for blend in [PHYSICS, CORE, ACADEMIC] * 30)
        )
    assert [text.split()[0] for text, _ in answers] == [SERVED[b.id] for b in (PHYSICS, CORE, ACADEMIC)] * 30


async def test_an_engine_without_a_model_list(fake: FakeVllm) -> None:
    backend = VllmBackend("primary", fake.url + "/elsewhere")
    with pytest.raises(BackendBroken):
        await backend.inventory()
    await backend.aclose()


# Runtime loads.


async def test_an_adapter_is_loaded_and_unloaded_while_it_runs(fake: FakeVllm) -> None:
    fake.adapters.clear()
    fake.folders = {"/blends/p"}
    async with client(fake) as backend:
        assert not (await backend.inventory()).serves(PHYSICS)
        await backend.load(SERVED[PHYSICS.id], "/blends/p")
        assert fake.seen[-1].body == {"lora_name": SERVED[PHYSICS.id], "lora_path": "/blends/p"}
        assert (await backend.inventory()).serves(PHYSICS)
        assert (await collect(backend.stream(prompt())))[0].startswith(SERVED[PHYSICS.id])
        await backend.unload(SERVED[PHYSICS.id])
        assert not (await backend.inventory()).serves(PHYSICS)


async def test_what_can_go_wrong_with_a_load(fake: FakeVllm) -> None:
    fake.folders = {"/blends/p", "/blends/rank-256"}
    async with client(fake) as backend:
        with pytest.raises(BackendRefused, match=r"cannot load core-0123456789ab: it holds an adapter .* already"):
            await backend.load(SERVED[CORE.id], "/blends/p")
        with pytest.raises(BackendRefused, match=r"finds no adapter at /nowhere; .* engine's machine"):
            await backend.load("new", "/nowhere")
        with pytest.raises(BackendBroken, match="rank 256"):
            await backend.load("new", "/blends/rank-256")
        with pytest.raises(BackendRefused, match="cannot unload new: it holds no adapter new"):
            await backend.unload("new")
        fake.runtime_updates = False
        for change in (backend.load("new", "/blends/p"), backend.unload(SERVED[CORE.id])):
            with pytest.raises(BackendBroken, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
                await change


# Probes.


async def test_no_two_cold_probes_share_a_prefix_cache(fake: FakeVllm) -> None:
    async with client(fake) as backend:
        for _ in range(3):
            await backend.probe(Probe("Why is it", 3, PHYSICS, cold=True))
    salts = [seen.body["cache_salt"] for seen in fake.seen]
    assert len(set(salts)) == 3
    assert all(len(salt) >= 32 and salt.isalnum() for salt in salts)  # vLLM refuses "", "@", "/" and over 128


@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize("blend", [None, PHYSICS])
async def test_a_probe_is_the_greedy_completion_of_exactly_one_speaker(
    fake: FakeVllm, blend: Blend | None, cold: bool
) -> None:
    async with client(fake) as backend:
        tokens = await backend.probe(Probe("Why is it", 3, blend, cold))
    model = "base-model" if blend is None else SERVED[blend.id]
    assert fake.seen[0].path == "/v1/completions"
    body = dict(fake.seen[0].body)
    salt = body.pop("cache_salt", None)
    assert bool(salt) == cold
    assert body == {
        "model": model,
        "prompt": "Why is it",
        "max_tokens": 3,
        "temperature": 0,
        "repetition_penalty": 1,
        "logprobs": 5,
    }
    who = "BASE" if blend is None else model
    assert [token.text for token in tokens] == [f" {who}{place}.0" for place in range(3)]
    assert tokens[0].logprob == pytest.approx(-1.6094379)  # ln(6/30)
    assert [len(token.top) for token in tokens] == [5, 5, 5]
    assert tokens[0].top[f" {who}0.4"] == pytest.approx(-2.7080502)  # ln(2/30)


@pytest.mark.parametrize(
    "url", ["localhost:80", "ftp://x", "http://", "http://x/v1", "http://x/v1/", "http://x?a=b"]
)
def test_unusable_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="server"):
        VllmBackend("primary", url)
