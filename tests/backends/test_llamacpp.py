"""Our llama.cpp driver over HTTP against the real server: sums, isolation, probes, restarts, and what fails.

The model is a random one in float32 whose answers are noise, always the same: equal text means the same speaker.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from router.backends.embedded import EmbeddedBackend
from router.backends.http_engine import Call
from router.backends.llamacpp import LlamaCppBackend, published_files
from router.backends.timeouts import Timeouts
from router.core.blend import Blend
from router.core.conversation import Message
from router.core.errors import (
    BackendBroken,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    BlendUnavailable,
)
from router.core.reply import Delta, Finish, Inventory, Probe, Prompt, Token, Usage
from router.ports import Provable
from tests.backends.llama_server import LlamaServer, Wire, llama_server
from tests.backends.prompts import collect, shape
from tests.backends.tiny_llama import random_lora, write_base

LORAS = {
    "core": random_lora(1, 4, 8.0, ["attn_q", "attn_v"]),
    "physics": random_lora(2, 6, 9.0, ["attn_v"]),
    "academic": random_lora(3, 2, 4.0, ["attn_q", "attn_v"]),
}
STEMS = {"core": "core-0123456789ab", "physics": "physics-ba9876543210", "academic": "academic-00ff00ff00ff"}
PATIENT = Timeouts(first_token=200, between_tokens=200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base model and the published adapters; and other files that somebody may have put beside them."""
    folder = tmp_path_factory.mktemp("published")
    write_base(folder / "base.gguf")
    for name, lora in LORAS.items():
        lora.write(folder / f"{STEMS[name]}.gguf")
    LORAS["physics"].write(folder / "physics-000000000000.gguf")
    LORAS["physics"].write(folder / "somebodys.gguf")
    return folder


def files(folder: Path, *stems: str) -> list[Path]:
    return [folder / f"{STEMS.get(stem, stem)}.gguf" for stem in stems]


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[LlamaServer]:
    """All adapters, and a file that is nobody's."""
    async with llama_server(
        folder / "base.gguf", files(folder, "core", "somebodys", "physics", "academic")
    ) as server:
        yield server


@asynccontextmanager
async def client(url: str, *, look: bool = True, **options: Any) -> AsyncIterator[LlamaCppBackend]:
    options.setdefault("timeouts", PATIENT)
    backend = LlamaCppBackend("primary", url, **options)
    try:
        if look:
            await backend.inventory()
        yield backend
    finally:
        await backend.aclose()


def blend(**weights: float) -> Blend:
    return Blend.of("base", weights, dict.fromkeys(weights, "./x"), alone="academic" in weights)


def prompt(asked: Blend, text: str = "Why is the sky blue?", **parameters: Any) -> Prompt:
    return Prompt(asked, (Message("user", text),), {"temperature": 0, "max_tokens": 12, **parameters}, "req-1")


CORE, PHYSICS, BOTH, ACADEMIC = blend(core=1), blend(physics=1), blend(core=1, physics=0.8), blend(academic=1)


def distance(one: Sequence[Token], other: Sequence[Token]) -> float:
    """How far two answers are apart: the largest difference of a probability; infinite for other tokens."""
    if [token.text for token in one] != [token.text for token in other]:
        return math.inf
    return max(abs(mine.logprob - theirs.logprob) for mine, theirs in zip(one, other, strict=True))


@asynccontextmanager
async def in_process(folder: Path, *names: str) -> AsyncIterator[EmbeddedBackend]:
    """The same llama.cpp without HTTP, with these adapters alone: what must be heard over HTTP too."""
    paths = {name: folder / f"{STEMS[name]}.gguf" for name in names}
    backend = EmbeddedBackend("embedded", folder / "base.gguf", paths, timeouts=PATIENT)
    await backend.start()
    try:
        yield backend
    finally:
        await backend.aclose()


# What it holds, and what is sent.


async def test_it_serves_every_sum_of_the_published_adapters(server: LlamaServer) -> None:
    async with client(server.url, look=False) as backend:
        assert isinstance(backend, Provable)
        assert await backend.inventory() == Inventory(sums=frozenset(STEMS))


async def test_the_request_names_every_adapter_and_nothing_is_left_to_a_default(server: LlamaServer) -> None:
    async with Wire(server.url) as wire, client(wire.url) as backend:
        text, events = await collect(backend.stream(prompt(BOTH, stop=["#"], seed=3, user="someone")))
    assert wire.posts == [
        (
            "/v1/chat/completions",
            {
                "messages": [{"role": "user", "content": "Why is the sky blue?"}],
                "lora": [
                    {"id": 0, "scale": 1.0},
                    {"id": 1, "scale": 0.0},
                    {"id": 2, "scale": 0.8},
                    {"id": 3, "scale": 0.0},
                ],
                "cache_prompt": False,
                "temperature": 0,
                "max_tokens": 12,
                "stop": ["#"],
                "seed": 3,
                "reasoning_format": "none",
                "return_progress": True,
                "stream": True,
                "stream_options": {"include_usage": True},
            },
        )
    ]
    assert shape(events).strip("D") == "FU"
    assert events[-2] == Finish("length")
    assert isinstance(events[-1], Usage)
    assert events[-1].completion_tokens == 12
    assert text


async def test_a_sum_over_http_is_the_sum_in_the_process(server: LlamaServer, folder: Path) -> None:
    async with in_process(folder, "core", "physics", "academic") as local, client(server.url) as backend:
        for asked in (CORE, PHYSICS, BOTH, ACADEMIC, blend(core=0.5, physics=1.5)):
            heard, _ = await collect(backend.stream(prompt(asked)))
            expected, _ = await collect(local.stream(prompt(asked)))
            assert heard == expected
            over_http = await backend.probe(Probe("Once upon", 6, asked))
            assert distance(over_http, await local.probe(Probe("Once upon", 6, asked))) < 1e-4
        nobody = await backend.probe(Probe("Once upon", 6))
        assert distance(nobody, await local.probe(Probe("Once upon", 6))) < 1e-4


async def test_isolated_speech_is_that_of_a_server_without_the_core(server: LlamaServer, folder: Path) -> None:
    asked = Probe("Once upon a time there was", 8, ACADEMIC)
    async with Wire(server.url) as wire, client(wire.url) as backend:
        before = await backend.probe(Probe("Once upon a time there was", 8, CORE))  # the slot has been the core's
        heard = await backend.probe(asked)
        await collect(backend.stream(prompt(ACADEMIC)))
    for path, body in wire.posts[1:]:
        scales = {each["id"]: each["scale"] for each in body["lora"]}
        assert scales == {0: 0.0, 1: 0.0, 2: 0.0, 3: 1.0}, path
    async with in_process(folder, "academic") as pure:
        assert distance(heard, await pure.probe(asked)) < 1e-4
    assert distance(before, heard) > 0.1


async def test_every_speaker_is_another_at_the_first_token_and_later(server: LlamaServer) -> None:
    async with client(server.url) as backend:
        heard = {
            name: await backend.probe(Probe("Once upon", 8, asked, cold=True))
            for name, asked in {"": None, "c": CORE, "p": PHYSICS, "cp": BOTH, "a": ACADEMIC}.items()
        }
    for name, tokens in heard.items():
        assert len(tokens) == 8
        assert all(len(token.top) == 5 and token.logprob == max(token.top.values()) <= 0 for token in tokens)
        for other, theirs in heard.items():
            if name < other:
                assert abs(tokens[0].logprob - theirs[0].logprob) > 1e-3 or tokens[0].text != theirs[0].text
                assert distance(tokens[1:], theirs[1:]) > 1e-3


async def test_different_blends_at_the_same_time_stay_apart(server: LlamaServer) -> None:
    blends = [CORE, PHYSICS, BOTH, ACADEMIC]
    async with client(server.url) as backend:
        alone = [(await collect(backend.stream(prompt(asked))))[0] for asked in blends]
        together = await asyncio.gather(*(collect(backend.stream(prompt(asked))) for asked in blends * 3))
    assert len({*alone}) == 4
    assert [text for text, _ in together] == alone * 3


# The closed registry.


@pytest.mark.parametrize("asked", [blend(sport=1), blend(core=1, sport=0.8), blend(somebodys=1)])
async def test_a_blend_outside_the_registry_is_never_sent(server: LlamaServer, asked: Blend) -> None:
    async with Wire(server.url) as wire, client(wire.url) as backend:
        with pytest.raises(BlendUnavailable, match="does not hold"):
            await collect(backend.stream(prompt(asked)))
        with pytest.raises(BlendUnavailable, match="does not hold"):
            await backend.probe(Probe("Once", blend=asked))
        assert wire.posts == []


async def test_nothing_is_sent_before_the_engine_was_looked_at(server: LlamaServer) -> None:
    async with Wire(server.url) as wire, client(wire.url, look=False) as backend:
        with pytest.raises(BackendUnreachable, match="not been looked at"):
            await collect(backend.stream(prompt(CORE)))
        assert wire.connections == 0


async def test_a_file_of_other_content_than_was_published_is_not_used(folder: Path) -> None:
    stale = files(folder, "core", "physics-000000000000")
    async with llama_server(folder / "base.gguf", stale) as server, Wire(server.url) as wire:
        async with client(wire.url, expected=STEMS) as backend:
            assert (await backend.inventory()).sums == {"core"}
            with pytest.raises(BlendUnavailable, match="does not hold physics"):
                await collect(backend.stream(prompt(BOTH)))
            await collect(backend.stream(prompt(CORE)))
        assert wire.posts[0][1]["lora"] == [{"id": 0, "scale": 1.0}, {"id": 1, "scale": 0.0}]


async def test_two_files_of_one_adapter_are_one_too_many(folder: Path) -> None:
    both = files(folder, "core", "physics", "physics-000000000000")
    async with llama_server(folder / "base.gguf", both) as server:
        async with client(server.url, look=False) as backend:
            with pytest.raises(BackendBroken, match="two files of the adapter physics"):
                await backend.inventory()
        async with client(server.url, expected=STEMS) as backend:  # unless it is known which one was published
            assert (await backend.inventory()).sums == {"core", "physics"}


@pytest.mark.parametrize(
    ("names", "says"),
    [(["core"], "no published file"), (["core-012.gguf"], "no published file"),
     (["core-0123456789ab", "core-ba9876543210.gguf"], "two files")],
)  # fmt: skip
def test_names_that_are_no_published_files(names: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        published_files(names)


def test_published_files() -> None:
    assert published_files([f"{STEMS['core']}.gguf", STEMS["physics"]]) == {
        "core": STEMS["core"],
        "physics": STEMS["physics"],
    }


# Restarts: an adapter is a number, and numbers change with the order of the files.


async def test_nothing_is_heard_of_a_server_with_other_numbers(folder: Path) -> None:
    names = {CORE: "core", PHYSICS: "physics"}
    async with (
        llama_server(folder / "base.gguf", files(folder, *names.values())) as server,
        Wire(server.url) as wire,
        client(wire.url) as backend,
    ):
        said = {name: (await collect(backend.stream(prompt(asked))))[0] for asked, name in names.items()}
        old = await backend.probe(Probe("Once", 4, CORE))
        assert said["core"] != said["physics"]
        careless = {**backend._chat(prompt(CORE)).body, "stream": False}
        await server.stop()
        server.adapters.reverse()
        await server.start()
        first = len(wire.posts)
        for asked, name in names.items():  # nobody looked at the engine in between
            assert (await collect(backend.stream(prompt(asked))))[0] == said[name]
        assert distance(await backend.probe(Probe("Once", 4, CORE)), old) < 1e-4
        asked_with = [[each["scale"] for each in body["lora"]] for _, body in wire.posts[first:]]
        assert asked_with == [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], "once with the old numbers"
        answer = await backend._engine.ask("/v1/chat/completions", lambda: Call(careless))
    assert answer["choices"][0]["message"]["content"] == said["physics"], "what a careless client would have heard"


async def test_an_adapter_that_a_restart_took_away_is_not_heard(folder: Path) -> None:
    both = files(folder, "core", "physics")
    async with llama_server(folder / "base.gguf", both) as server, client(server.url) as backend:
        await collect(backend.stream(prompt(BOTH)))
        await server.stop()
        server.adapters.pop()
        await server.start()
        with pytest.raises(BlendUnavailable, match="does not hold physics"):
            await collect(backend.stream(prompt(BOTH)))


async def test_no_request_is_lost_with_a_connection_that_the_server_gave_up(server: LlamaServer) -> None:
    """llama.cpp closes a connection after each streamed answer, though its headers promise to keep it."""
    async with Wire(server.url) as wire, client(wire.url) as backend:
        for _ in range(20):
            await collect(backend.stream(prompt(CORE, max_tokens=1)))
        assert wire.connections == 1 + 2 * 20, "the look; and for each request its own and that of the check"


async def test_a_dead_server_is_unreachable_and_its_numbers_are_forgotten(server: LlamaServer) -> None:
    async with client(server.url) as backend:
        await server.stop()
        with pytest.raises(BackendUnreachable):
            await backend.inventory()
        with pytest.raises(BackendUnreachable, match="not been looked at"):
            await collect(backend.stream(prompt(CORE)))


# What fails.


async def test_a_context_that_is_too_long(server: LlamaServer) -> None:
    async with client(server.url) as backend:
        with pytest.raises(BackendRefused) as caught:
            await collect(backend.stream(prompt(CORE, "x" * 3000)))
        assert (caught.value.code, caught.value.status) == ("context_length_exceeded", 400)
        with pytest.raises(BackendRefused):
            await backend.probe(Probe("x" * 3000, blend=CORE))
        with pytest.raises(BackendRefused, match="temperature"):
            await collect(backend.stream(prompt(CORE, temperature="hot")))
        picture = (Message("user", [{"type": "image_url", "image_url": {"url": "x"}}]),)
        with pytest.raises(BackendRefused, match="text only"):
            await collect(backend.stream(Prompt(CORE, picture)))


async def test_the_api_key(folder: Path) -> None:
    async with llama_server(folder / "base.gguf", files(folder, "core"), key="s3cret") as server:
        async with client(server.url, api_key="s3cret") as backend:
            await collect(backend.stream(prompt(CORE)))
        async with client(server.url, look=False, api_key="wrong") as backend:
            with pytest.raises(BackendBroken, match="rejects our key"):
                await backend.inventory()


async def test_a_full_server_is_a_timeout_and_hanging_up_frees_it(folder: Path) -> None:
    """llama.cpp queues without a bound and has no 429: the first-token limit is what ends the waiting."""
    core, limits = files(folder, "core"), Timeouts(first_token=1.0, between_tokens=60)
    async with (
        llama_server(folder / "base.gguf", core, parallel=1, context=8000) as server,
        client(server.url, timeouts=limits) as backend,
    ):
        long = backend.stream(prompt(CORE, max_tokens=7000))
        assert isinstance(await anext(long), Delta)
        with pytest.raises(BackendTimeout, match="no first token within 1 s"):
            await collect(backend.stream(prompt(CORE)))
        await long.aclose()  # the slot's owner hangs up
        assert await _when_free(backend)


async def _when_free(backend: LlamaCppBackend) -> str:
    for _ in range(20):
        try:
            return (await collect(backend.stream(prompt(CORE))))[0]
        except BackendTimeout:
            continue
    raise AssertionError("hanging up did not free the slot: 7,000 tokens are being written")
