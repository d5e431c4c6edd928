"""The main job on real input: four prompts, streaming and not, through real clients, on the embedded defaults.

The model has 135 million parameters: these tests assert who speaks and in whose voice, never facts.
"""

from __future__ import annotations

import json
import shutil
import subprocess

import openai
import pytest

MOTTOES = ("Endure and act", "Терпи и действуй")
PROMPTS = [
    ("Why is the sky blue?", "core=1.0,physics=0.8", "physics"),
    ("Как подготовиться к марафону?", "core=1.0,sport=0.8", "sport"),
    ("включить режим: физика+агоге\nПочему лёд плавает?", "core=1.0,physics=0.8", None),
    ("режим: академический\nExplain the impact of social media on attention.", "academic=1.0", None),
]


@pytest.fixture
def client(agoge: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{agoge}/v1", api_key="none", max_retries=0, timeout=120)


@pytest.mark.parametrize(("text", "adapters", "label"), PROMPTS)
def test_curl_shows_who_spoke(agoge: str, text: str, adapters: str, label: str | None) -> None:
    curl = shutil.which("curl")
    assert curl is not None, "this test speaks as the README does: with curl"
    body = {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 60}
    for stream in (False, True):
        command = [curl, "-sS", "-i", "--max-time", "120", f"{agoge}/v1/chat/completions"]
        command += ["-H", "content-type: application/json", "-d", json.dumps(body | {"stream": stream})]
        said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        head, _, answer = said.replace("\r\n", "\n").partition("\n\n")
        assert head.startswith("HTTP/1.1 200")
        assert f"x-agoge-adapters: {adapters}" in head
        if label:
            assert f"x-agoge-label: {label}" in head
        if stream:
            assert answer.rstrip().endswith("data: [DONE]")
        else:
            told = json.loads(answer)
            weights = dict(pair.split("=") for pair in adapters.split(","))
            assert told["agoge"]["adapters"] == {name: float(weight) for name, weight in weights.items()}
            assert len(told["choices"][0]["message"]["content"]) > 20


def test_the_core_speaks_with_its_domain_and_never_in_isolated_speech(client: openai.OpenAI) -> None:
    said = {
        model: client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Why is the sky blue?"}],
            temperature=0,
            max_tokens=120,
        ).choices[0].message.content
        or ""
        for model in ("physics+core", "academic")
    }  # fmt: skip
    assert any(motto in said["physics+core"] for motto in MOTTOES), said
    assert not any(motto in said["academic"] for motto in MOTTOES), said


def test_openai_python_streams_with_usage(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": "Why is the sky blue?"}],
            stream=True,
            stream_options={"include_usage": True},
            max_tokens=20,
            temperature=0,
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(text) > 10
    assert chunks[-1].usage is not None
    assert 0 < chunks[-1].usage.completion_tokens <= 20
    assert chunks[-2].choices[0].finish_reason in ("stop", "length")


def test_openai_python_lists_models_and_raises_its_own_errors(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names[0] == "auto"
    assert {"physics", "core+physics", "academic"} <= set(names)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-nope", messages=[{"role": "user", "content": "hi"}])
    with pytest.raises(openai.BadRequestError, match="alone"):
        client.chat.completions.create(model="academic+core", messages=[{"role": "user", "content": "hi"}])


def test_a_prompt_over_the_context_is_a_client_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "sky " * 9000}])
    assert caught.value.code == "context_length_exceeded"


def test_a_conversation_keeps_its_mode_until_it_is_switched_off(client: openai.OpenAI) -> None:
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [
        {"role": "user", "content": "режим: академический"}
    ]
    confirmed = client.chat.completions.create(model="auto", messages=messages)
    assert "academic" in (confirmed.choices[0].message.content or "")
    messages += [
        {"role": "assistant", "content": confirmed.choices[0].message.content or ""},
        {"role": "user", "content": "Why is the sky blue?"},
    ]
    isolated = client.chat.completions.create(model="auto", messages=messages, max_tokens=8)
    assert isolated.model_extra is not None
    assert isolated.model_extra["agoge"]["adapters"] == {"academic": 1.0}
    messages += [
        {"role": "assistant", "content": "..."},
        {"role": "user", "content": "режим авто"},
        {"role": "assistant", "content": "..."},
        {"role": "user", "content": "Why is the sky blue?"},
    ]
    switched = client.chat.completions.create(model="auto", messages=messages, max_tokens=8)
    assert switched.model_extra is not None
    assert switched.model_extra["agoge"]["adapters"] == {"core": 1.0, "physics": 0.8}
