"""litellm as a client of a live Agoge: `openai/auto` with an api_base."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

from tests.clients.asked import DIRECTIVE, PHYSICS, SKY, asked, weights


def call(base: str, model: str, text: str, **more: Any) -> dict[str, Any]:
    return {
        "model": f"openai/{model}",
        "api_base": base,
        "api_key": "none",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 12,
        "temperature": 0,
        "num_retries": 0,
        **more,
    }


@asked
def test_completion_tells_who_spoke(base: str, model: str, text: str, adapters: str) -> None:
    said = litellm.completion(**call(base, model, text))
    assert said.choices[0].message.content
    assert said._hidden_params["additional_headers"]["llm_provider-x-agoge-adapters"] == adapters
    assert said.agoge["adapters"] == weights(adapters)
    assert 0 < said.usage.completion_tokens <= 12


async def test_acompletion_streams_and_counts(base: str) -> None:
    stream = await litellm.acompletion(
        **call(base, "auto", DIRECTIVE, stream=True, stream_options={"include_usage": True})
    )
    pieces = [piece async for piece in stream]
    assert len("".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)) > 5
    assert stream._hidden_params["additional_headers"]["llm_provider-x-agoge-adapters"] == PHYSICS
    usage = [piece.usage for piece in pieces if getattr(piece, "usage", None)]
    assert usage[-1].completion_tokens > 0


async def test_acompletion_answers_whole(base: str) -> None:
    said = await litellm.acompletion(**call(base, "auto", SKY))
    assert said.agoge["adapters"] == weights(PHYSICS)


def test_the_models_are_listed(base: str) -> None:
    names = litellm.get_valid_models(
        check_provider_endpoint=True, custom_llm_provider="openai", api_base=base, api_key="none"
    )
    assert {"auto", "physics", "core+physics", "academic"} <= {name.removeprefix("openai/") for name in names}


def test_refusals_are_litellms_classes(base: str) -> None:
    with pytest.raises(litellm.NotFoundError, match="gpt-nope"):
        litellm.completion(**call(base, "gpt-nope", SKY))
    with pytest.raises(litellm.BadRequestError, match="alone"):
        litellm.completion(**call(base, "academic+core", SKY))
    with pytest.raises(litellm.BadRequestError, match="dance"):
        litellm.completion(**call(base, "auto", "/mode dance tonight", stream=True))
    with pytest.raises(litellm.BadRequestError, match="context"):
        litellm.completion(**call(base, "auto", "sky " * 9000))
