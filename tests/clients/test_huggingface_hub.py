"""huggingface_hub's inference clients against a live Agoge."""

from __future__ import annotations

import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from tests.clients.asked import DIRECTIVE, SKY, asked, weights


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@asked
async def test_chat_completion_tells_who_spoke(base: str, model: str, text: str, adapters: str) -> None:
    async with AsyncInferenceClient(base_url=base, api_key="none") as client:
        said = await client.chat_completion(user(text), model=model, max_tokens=12, temperature=0)
    assert said.choices[0].message.content
    assert said["agoge"]["adapters"] == weights(adapters)
    assert said.model == model
    assert 0 < said.usage.completion_tokens <= 12


async def test_it_streams_and_counts(base: str) -> None:
    async with AsyncInferenceClient(base_url=base, api_key="none") as client:
        stream = await client.chat.completions.create(
            messages=user(DIRECTIVE),
            model="auto",
            stream=True,
            stream_options={"include_usage": True},
            max_tokens=12,
        )
        pieces = [piece async for piece in stream]
    assert len("".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)) > 5
    assert pieces[-2].choices[0].finish_reason in ("stop", "length")
    assert pieces[-1].usage.total_tokens > 0


def test_the_client_that_blocks_does_the_same(base: str) -> None:
    said = InferenceClient(base_url=base, api_key="none").chat_completion(user(SKY), model="auto", max_tokens=4)
    assert said["agoge"]["adapters"] == {"core": 1.0, "physics": 0.8}


@pytest.mark.parametrize(
    ("model", "text", "status", "code"),
    [
        ("gpt-nope", SKY, 404, "model_not_found"),
        ("academic+core", SKY, 400, "contradiction"),
        ("auto", "/mode dance tonight", 400, "unknown_mode"),
    ],
)
async def test_refusals_carry_status_and_code(base: str, model: str, text: str, status: int, code: str) -> None:
    async with AsyncInferenceClient(base_url=base, api_key="none") as client:
        with pytest.raises(HfHubHTTPError) as caught:
            await client.chat_completion(user(text), model=model)
    assert caught.value.response.status_code == status
    assert caught.value.response.json()["error"]["code"] == code
