"""Responses, completions and models through openai-python on the embedded defaults.

The model has 135 million parameters: these tests assert who speaks and in what form, never facts.
"""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

PROMPTS = [
    ("Why is the sky blue?", "core=1.0,physics=0.8"),
    ("Как подготовиться к марафону?", "core=1.0,sport=0.8"),
    ("включить режим: физика+агоге\nПочему лёд плавает?", "core=1.0,physics=0.8"),
    ("режим: академический\nExplain the impact of social media on attention.", "academic=1.0"),
]


@pytest.fixture
def client(agoge: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{agoge}/v1", api_key="none", max_retries=0, timeout=120)


@pytest.mark.parametrize(("text", "adapters"), PROMPTS)
def test_the_same_prompt_speaks_the_same_on_every_route(client: openai.OpenAI, text: str, adapters: str) -> None:
    chat = client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": text}], temperature=0, max_tokens=40
    )
    whole = client.responses.with_raw_response.create(
        model="auto", input=text, temperature=0, max_output_tokens=40
    )
    legacy = client.completions.with_raw_response.create(model="auto", prompt=text, temperature=0, max_tokens=40)
    for answer in (chat, whole, legacy):
        assert answer.headers["x-agoge-adapters"] == adapters
        assert answer.headers["x-agoge-backend"] == "embedded:"
    said = chat.parse().choices[0].message.content
    assert said
    assert whole.parse().output_text == legacy.parse().choices[0].text == said
    events = list(
        client.responses.create(model="auto", input=text, temperature=0, max_output_tokens=40, stream=True)
    )
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == said
    last = events[-1]
    assert last.type in ("response.completed", "response.incomplete")
    assert last.response.output_text == said
    assert last.response.usage == whole.parse().usage
    assert last.response.usage is not None
    assert last.response.usage.output_tokens > 0


def test_a_cut_answer_is_incomplete(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="core", input="Tell me a long story.", max_output_tokens=5)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.usage is not None
    assert answer.usage.output_tokens == 5


def test_structured_output_is_json(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"blue": {"type": "boolean"}},
        "required": ["blue"],
        "additionalProperties": False,
    }
    answer = client.responses.create(
        model="physics",
        input="Is the sky blue?",
        max_output_tokens=60,
        text={"format": {"type": "json_schema", "name": "sky", "schema": schema}},
    )
    assert set(json.loads(answer.output_text)) == {"blue"}


def test_every_listed_model_speaks_as_it_says(client: openai.OpenAI) -> None:
    listed = [model.to_dict() for model in client.models.list()]
    assert len(listed) == 8
    for model in listed:
        told: Any = client.responses.create(model=str(model["id"]), input="Hello!", max_output_tokens=1)
        expected: Any = model["agoge"]
        assert told.agoge["adapters"] == ({"core": 1.0} if expected is None else expected["adapters"])
        assert expected is None or told.agoge["blend"] == expected["blend"]


def test_an_image_is_refused_by_an_engine_that_reads_text_only(client: openai.OpenAI) -> None:
    image: Any = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"}
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="core", input=[{"role": "user", "content": [image]}])
    assert caught.value.param == "input"
