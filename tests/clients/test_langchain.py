"""LangChain's ChatOpenAI against a live Agoge."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

from tests.clients.asked import DIRECTIVE, PHYSICS, SKY, asked


def chat(base: str, model: str = "auto", **more: Any) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=base,
        api_key="none",  # type: ignore[arg-type]
        model=model,
        temperature=0,
        max_tokens=12,  # type: ignore[call-arg]
        stream_usage=True,
        max_retries=0,
        include_response_headers=True,
        **more,
    )


@asked
def test_invoke_tells_who_spoke(base: str, model: str, text: str, adapters: str) -> None:
    said = chat(base, model).invoke(text)
    assert said.text
    assert said.response_metadata["headers"]["x-agoge-adapters"] == adapters
    assert said.response_metadata["model_name"] == model
    assert said.usage_metadata is not None
    assert 0 < said.usage_metadata["output_tokens"] <= 12


async def test_a_conversation_streams_with_usage(base: str) -> None:
    messages = [SystemMessage("Be brief."), HumanMessage(DIRECTIVE)]
    whole: AIMessageChunk | None = None
    pieces = 0
    async for piece in chat(base).astream(messages):
        assert isinstance(piece, AIMessageChunk)
        whole, pieces = piece if whole is None else whole + piece, pieces + bool(piece.text)
    assert whole is not None
    assert pieces > 1
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["input_tokens"] > 0
    assert whole.response_metadata["headers"]["x-agoge-adapters"] == PHYSICS
    assert whole.response_metadata["finish_reason"] in ("stop", "length")


def test_a_batch_is_answered_in_order(base: str) -> None:
    first, second = chat(base).batch([SKY, "mode: sport\nHow do I train?"])
    assert first.response_metadata["headers"]["x-agoge-adapters"] == PHYSICS
    assert second.response_metadata["headers"]["x-agoge-adapters"] == "core=1.0,sport=0.8"


def test_refusals_are_openais_classes(base: str) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        chat(base, "gpt-nope").invoke(SKY)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as both:
        chat(base, "academic+core").invoke(SKY)
    assert both.value.code == "contradiction"
    with pytest.raises(openai.BadRequestError) as streamed:
        list(chat(base).stream("/mode dance tonight"))
    assert streamed.value.code == "unknown_mode"
