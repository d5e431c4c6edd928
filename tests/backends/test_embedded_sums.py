"""What llama.cpp really computes for a blend, against facts from outside: the algebra of LoRA, and other engines.

Distributions are whole: the log-probability of every token, so that nothing hides outside a top-k.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from router.backends.embedded import EmbeddedBackend
from router.backends.timeouts import Timeouts
from router.core.blend import Blend
from router.core.conversation import Message
from router.core.errors import BackendRefused, BackendUnreachable
from router.core.reply import Delta, Event, Finish, Prompt, Usage
from tests.backends.tiny_llama import Lora, random_lora, summed, write_base

TOKENS = 259
SAME = 0.01  # KV is kept in 16 bits: two ways of adding the same numbers differ by 0.002 at most
OTHER = 0.5  # what an adapter changes

Distribution = dict[int, float]

LORAS = {
    "core": random_lora(1, 4, 8.0, ["attn_q", "attn_v"]),
    "physics": random_lora(2, 6, 9.0, ["attn_v"]),  # another rank, alpha and set of modules
    "academic": random_lora(3, 2, 4.0, ["attn_q", "attn_v"]),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The base model, the adapters, and one adapter that is 1.0 core + 0.8 physics by numpy."""
    folder = tmp_path_factory.mktemp("tiny")
    loras: dict[str, Lora] = {**LORAS, "summed": summed([(LORAS["core"], 1.0), (LORAS["physics"], 0.8)])}
    written = {name: lora.write(folder / f"{name}.gguf") for name, lora in loras.items()}
    return {"base": write_base(folder / "base.gguf"), **written}


def backend_of(files: Mapping[str, Path], *names: str, **options: Any) -> EmbeddedBackend:
    options.setdefault("timeouts", Timeouts(first_token=200, between_tokens=200))
    return EmbeddedBackend("embedded", files["base"], {name: files[name] for name in names}, **options)


@pytest.fixture
async def backend(files: dict[str, Path]) -> AsyncIterator[EmbeddedBackend]:
    """All adapters of the policy in one engine with three slots."""
    backend = backend_of(files, "core", "physics", "academic", parallel=3)
    await backend.start()
    yield backend
    await backend.aclose()


def prompt(weights: Mapping[str, float], text: str = "Why is the sky blue?", **parameters: Any) -> Prompt:
    blend = Blend.of("base", weights, dict.fromkeys(weights, "./somewhere"))
    return Prompt(blend, (Message("user", text),), {"temperature": 0, **parameters})


def distributions(backend: EmbeddedBackend, asked: Prompt) -> list[Distribution]:
    """Return token id -> log-probability for each token of the answer, as the engine computed them."""
    chunks: list[Mapping[str, Any]] = []

    def take(chunk: Mapping[str, Any]) -> bool:
        chunks.append(chunk)
        return False

    request = {**backend.request(asked), "logprobs": True, "top_logprobs": TOKENS}
    engine, _ = backend._running()
    engine.handle_chat_completions(request, take)
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice.get("logprobs")]
    tokens = [token for choice in choices for token in choice["logprobs"]["content"]]
    found = [{entry["id"]: entry["logprob"] for entry in token["top_logprobs"]} for token in tokens]
    assert found
    assert all(len(distribution) == TOKENS for distribution in found)
    return found


def first(
    backend: EmbeddedBackend, weights: Mapping[str, float], text: str = "Why is the sky blue?"
) -> Distribution:
    return distributions(backend, prompt(weights, text, max_tokens=1))[0]


def distance(one: Distribution, other: Distribution) -> float:
    return max(abs(one[token] - other[token]) for token in one)


async def test_a_sum_per_request_is_the_sum_that_was_composed_before(
    backend: EmbeddedBackend, files: dict[str, Path]
) -> None:
    composed = backend_of(files, "summed")
    await composed.start()
    expected = first(composed, {"summed": 1.0})
    await composed.aclose()
    assert distance(first(backend, {"core": 1.0, "physics": 0.8}), expected) < SAME
    for other in ({"core": 1.0}, {"physics": 0.8}, {"core": 0.8, "physics": 1.0}, {"core": 1.0, "physics": 0.4}):
        assert distance(first(backend, other), expected) > 10 * SAME, f"{other} is another speaker"


async def test_isolated_speech_is_that_of_an_engine_without_the_core(
    backend: EmbeddedBackend, files: dict[str, Path]
) -> None:
    pure = backend_of(files, "academic")
    await pure.start()
    expected = distributions(pure, prompt({"academic": 1.0}, max_tokens=5))
    await pure.aclose()
    before = first(backend, {"core": 1.0})  # the slot has just been the core's
    heard = distributions(backend, prompt({"academic": 1.0}, max_tokens=5))
    assert [distance(one, other) for one, other in zip(heard, expected, strict=True)] == [0.0] * 5
    assert distance(before, expected[0]) > OTHER
    assert distance(first(backend, {"academic": 1.0, "core": 0.05}), expected[0]) > 0.01, (
        "a trace of core is heard"
    )


async def test_every_speaker_differs_from_every_other(backend: EmbeddedBackend) -> None:
    """And from the bare base: registered adapters are silent until a blend names them."""
    blends = [{"core": 1.0}, {"physics": 0.8}, {"academic": 1.0}, {"core": 1.0, "physics": 0.8}, {"core": 0.0}]
    heard = [first(backend, blend) for blend in blends]
    pairs = [(i, j) for i in range(len(blends)) for j in range(i)]
    assert min(distance(heard[i], heard[j]) for i, j in pairs) > OTHER


async def test_the_order_in_which_adapters_are_given_is_no_difference(files: dict[str, Path]) -> None:
    heard = []
    for names in (["core", "physics", "academic"], ["academic", "physics", "core"]):
        backend = backend_of(files, *names)
        await backend.start()
        heard.append([first(backend, dict.fromkeys(order, 0.7)) for order in (names, names[::-1])])
        await backend.aclose()
    assert heard[0] == heard[1]
    assert heard[0][0] == heard[0][1]


async def test_interleaved_speakers_on_one_prefix_say_what_they_say_alone(backend: EmbeddedBackend) -> None:
    """Twelve requests at once on three slots, one long prefix, four blends: no KV of one is used by another."""
    prefix = "The boundary layer of a fluid is thin and full of vortices. " * 6
    blends = [{"core": 1.0}, {"academic": 1.0}, {"core": 1.0, "physics": 0.8}, {"physics": 0.8}]
    asked = [prompt(blend, prefix + end, max_tokens=2) for end in ("Why?", "How?", "When?") for blend in blends]
    alone = [distributions(backend, one) for one in asked]
    for _ in range(2):
        together = await asyncio.gather(*(asyncio.to_thread(distributions, backend, one) for one in asked))
        for one, other in zip(alone, together, strict=True):
            assert distance(one[0], other[0]) < SAME
    assert min(distance(alone[i][0], alone[j][0]) for i in range(4) for j in range(i)) > 10 * SAME


# --- the stream


async def collect(backend: EmbeddedBackend, asked: Prompt) -> list[Event]:
    return [event async for event in backend.stream(asked)]


def text_of(events: list[Event]) -> str:
    return "".join(event.content for event in events if isinstance(event, Delta))


async def test_a_stream_is_deltas_then_the_finish_then_the_count(backend: EmbeddedBackend) -> None:
    events = await collect(backend, prompt({"core": 1.0}, max_tokens=20))
    kinds = [type(event) for event in events]
    assert kinds == [Delta] * (len(events) - 2) + [Finish, Usage]
    assert events[-2] == Finish("length")
    assert len(text_of(events)) == 20  # a token is a byte here, also of the question
    longer = await collect(backend, prompt({"core": 1.0}, "Why is the sky blue?" + "!" * 7, max_tokens=20))
    used, more = events[-1], longer[-1]
    assert isinstance(used, Usage)
    assert isinstance(more, Usage)
    assert (used.completion_tokens, more.completion_tokens) == (20, 20)
    assert more.prompt_tokens - used.prompt_tokens == 7


async def test_without_a_limit_an_answer_has_256_tokens(backend: EmbeddedBackend) -> None:
    events = await collect(backend, prompt({"core": 1.0}))
    assert events[-2] == Finish("length")
    assert len(text_of(events)) == 256


async def test_stop_ends_the_answer_before_the_text(backend: EmbeddedBackend) -> None:
    whole = text_of(await collect(backend, prompt({"core": 1.0}, max_tokens=40)))
    stop = whole[10:13]
    events = await collect(backend, prompt({"core": 1.0}, max_tokens=40, stop=[stop]))
    assert text_of(events) == whole[: whole.index(stop)]
    assert events[-2] == Finish("stop")


async def test_a_seed_repeats_an_answer(backend: EmbeddedBackend) -> None:
    async def said(seed: int) -> str:
        return text_of(await collect(backend, prompt({"core": 1.0}, temperature=1.5, seed=seed, max_tokens=40)))

    assert await said(1) == await said(1) != await said(2)


async def test_an_answer_can_be_bound_to_a_schema(backend: EmbeddedBackend) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"enum": [7]}},
        "required": ["n"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    said = text_of(await collect(backend, prompt({"core": 1.0}, response_format=wanted, max_tokens=60)))
    assert said.replace(" ", "").replace("\n", "").startswith('{"n":7}')


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize(
    "parameters",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "string"}}}},
        {"tools": [TOOL]},
        {"tools": [TOOL], "tool_choice": "required"},
    ],
    ids=["grammar", "tools", "forced tool"],
)
async def test_grammars_and_tools_leave_isolation_whole(
    backend: EmbeddedBackend, files: dict[str, Path], parameters: dict[str, Any]
) -> None:
    """Another path through llama.cpp's server: an adapter list that it overlooked would show here."""
    pure = backend_of(files, "academic")
    await pure.start()
    asked = prompt({"academic": 1.0}, max_tokens=24, **parameters)
    expected = await collect(pure, asked)
    await pure.aclose()
    core = await collect(backend, prompt({"core": 1.0}, max_tokens=24, **parameters))
    assert await collect(backend, asked) == expected != core


async def test_answers_given_up_leave_nothing_behind_in_their_slots(backend: EmbeddedBackend) -> None:
    """Dropped while the prompt is read, before the first token and after it; then another speaker on the slot."""
    blends = [{"core": 1.0}, {"academic": 1.0}, {"core": 1.0, "physics": 0.8}]
    asked = [prompt(blend, max_tokens=12) for blend in blends]
    alone = [text_of(await collect(backend, one)) for one in asked]
    assert len(set(alone)) == 3

    async def give_up(number: int) -> None:
        stream = backend.stream(
            prompt(blends[number % 3], "Why is the sky blue?" * (1 + number % 7), max_tokens=90)
        )
        seen = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.002 * (number % 5) if number % 2 else 60):
                async for _ in stream:
                    seen += 1
                    if seen > number % 4:
                        break
        await stream.aclose()

    for turn in range(4):
        await asyncio.gather(*(give_up(7 * turn + number) for number in range(7)))
        assert [text_of(await collect(backend, one)) for one in asked] == alone


async def test_a_conversation_too_long_is_refused_before_the_first_event(files: dict[str, Path]) -> None:
    backend = backend_of(files, "core", context=512)
    await backend.start()
    with pytest.raises(BackendRefused, match="exceeds the available context size") as caught:
        await collect(backend, prompt({"core": 1.0}, "x" * 600))
    assert (caught.value.status, caught.value.code, caught.value.param) == (
        400,
        "context_length_exceeded",
        "messages",
    )
    fits = await collect(backend, prompt({"core": 1.0}, "x" * 400))
    assert fits[-2] == Finish("length"), "what fits is answered, until the context is full"
    await backend.aclose()


@pytest.mark.parametrize("wrong", [{"temperature": "hot"}, {"response_format": {"type": "poem"}}])
async def test_a_wrong_parameter_is_refused(backend: EmbeddedBackend, wrong: dict[str, Any]) -> None:
    with pytest.raises(BackendRefused):
        await collect(backend, prompt({"core": 1.0}, **wrong))


async def test_an_adapter_that_does_not_fit_is_refused_at_start(files: dict[str, Path], tmp_path: Path) -> None:
    stranger = Lora({"blk.99.attn_q": LORAS["core"].factors["blk.0.attn_q"]}, 1.0).write(
        tmp_path / "stranger.gguf"
    )
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(files["core"].read_bytes()[:1000])
    for wrong in (stranger, torn, files["base"]):
        backend = EmbeddedBackend("embedded", files["base"], {"core": files["core"], "wrong": wrong})
        with pytest.raises(BackendUnreachable, match=r"cannot load .*\.gguf together"):
            await backend.start()
