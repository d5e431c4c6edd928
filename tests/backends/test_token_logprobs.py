"""Probes of TGI, alone and behind huggingface_hub, and what is read of token logprobs that are none."""

from __future__ import annotations

from typing import Any

import pytest

from router.backends.hub import HubBackend
from router.backends.tgi import TgiBackend
from router.backends.token_logprobs import llama_tokens, openai_tokens, tgi_tokens
from router.core.blend import Blend
from router.core.errors import BackendBroken, BackendFailed, BlendUnavailable
from router.core.reply import Probe
from router.ports import Provable
from tests.backends.fake_tgi import FakeTgi
from tests.backends.prompts import PHYSICS, SPORT

SERVED = {PHYSICS.id: "core+physics-0123456789ab"}


@pytest.mark.parametrize("kind", [TgiBackend, HubBackend])
@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize("blend", [None, PHYSICS])
async def test_a_probe_is_a_greedy_generation_with_details(
    kind: type[TgiBackend] | type[HubBackend], blend: Blend | None, cold: bool
) -> None:
    async with FakeTgi(names=list(SERVED.values())) as fake:
        backend = kind("primary", fake.url, list(SERVED.values()), published=SERVED)
        assert isinstance(backend, Provable)
        tokens = await backend.probe(Probe("Why", 3, blend, cold))
        with pytest.raises(BlendUnavailable):
            await backend.probe(Probe("Why", blend=SPORT))
        await backend.aclose()
    (seen,) = fake.seen
    assert seen.body["inputs"] == "Why"
    wanted: dict[str, Any] = {
        "max_new_tokens": 3,
        "do_sample": False,
        "details": True,
        "decoder_input_details": cold,
        "top_n_tokens": 5,
        "adapter_id": None if blend is None else SERVED[blend.id],
    }
    sent = {"adapter_id": None, **seen.body["parameters"]}
    assert {name: sent[name] for name in wanted} == wanted
    assert not {name: value for name, value in sent.items() if value is not None and name not in wanted}
    who = "BASE" if blend is None else SERVED[blend.id]
    assert [token.text for token in tokens] == [f" {who}{place}.0" for place in range(3)]
    assert tokens[2].logprob == -0.5
    assert tokens[2].top == {f" {who}2.{rank}": -0.5 - rank for rank in range(5)}


@pytest.mark.parametrize("kind", [TgiBackend, HubBackend])
@pytest.mark.parametrize("fault", ["424", "429", "422", "503"])
async def test_a_probe_fails_as_a_chat_does(kind: type[TgiBackend] | type[HubBackend], fault: str) -> None:
    async with FakeTgi(names=["core"], fault=fault) as fake:
        backend = kind("primary", fake.url, ["core"])
        with pytest.raises(BackendFailed) as caught:
            await backend.probe(Probe("Why"))
        assert caught.value.backend == "primary"
        await backend.aclose()


def test_two_tokens_that_read_alike_keep_the_likelier_one() -> None:
    """Halves of a letter all read as U+FFFD."""
    top = [
        {"token": "\ufffd", "logprob": -1.0},
        {"token": "a", "logprob": -1.5},
        {"token": "\ufffd", "logprob": -2.0},
    ]
    (token,) = llama_tokens("primary", [{"token": "\ufffd", "logprob": -1.0, "top_logprobs": top}])
    assert token.top == {"\ufffd": -1.0, "a": -1.5}


TEXT = {"text": "a", "logprob": 0}


@pytest.mark.parametrize(
    "details",
    [None, {}, {"tokens": [], "top_tokens": []}, {"tokens": [TEXT], "top_tokens": []}, {"tokens": [TEXT]}],
)
def test_generations_that_show_no_logprobs(details: object) -> None:
    for answer in ({"details": details}, [], None):
        with pytest.raises(BackendBroken):
            tgi_tokens("primary", answer)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        {"tokens": [], "token_logprobs": [], "top_logprobs": []},
        {"tokens": ["a"], "token_logprobs": [None], "top_logprobs": [{}]},
        {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": []},
    ],
)
@pytest.mark.parametrize("echoed", [False, True])
def test_completions_that_show_no_logprobs(logprobs: object, echoed: bool) -> None:
    usage = {"completion_tokens": 1}
    for answer in ({"choices": [{"logprobs": logprobs}], "usage": usage}, {"choices": []}, None):
        with pytest.raises(BackendBroken):
            openai_tokens("primary", answer, echoed=echoed)


@pytest.mark.parametrize(
    "probabilities", [None, [], [{}], [{"token": "a", "logprob": "high", "top_logprobs": []}], 3]
)
def test_probabilities_that_are_none(probabilities: object) -> None:
    with pytest.raises(BackendBroken):
        llama_tokens("primary", probabilities)
