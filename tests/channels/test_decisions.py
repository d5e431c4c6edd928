"""POST /v1/decisions: the same decision as chat would take, explained, and no engine called."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.stage import Stage, staged


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as live:
        yield live


async def decide(stage: Stage, payload: object) -> httpx.Response:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        return await client.post("/v1/decisions", json=payload)


async def test_every_adapter_has_its_verdict_and_the_nearest_exemplars_are_named(stage: Stage) -> None:
    told = (await decide(stage, {"input": "why is the sky blue"})).json()
    assert told["adapters"] == {"core": 1.0, "physics": 0.8}
    verdicts = {v["adapter"]: (v["speaks"], v["reason"], v["gate"]) for v in told["verdicts"]}
    assert verdicts == {
        "academic": (False, "not_asked", None),
        "core": (True, "always", None),
        "physics": (True, "scored", 0.5),
        "sport": (False, "below_gate", 0.5),
    }
    assert told["nearest"] == [{"text": "why is the sky blue", "label": "physics", "similarity": 0.75}]
    assert told["scores"]["physics"] == 0.9
    assert stage.backends["first"].prompts == []


async def test_a_decision_shares_the_cache_with_chat(stage: Stage) -> None:
    messages = [{"role": "user", "content": "why is the sky blue"}]
    decided = (await decide(stage, {"messages": messages})).json()
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        chat = await client.post("/v1/chat/completions", json={"messages": messages})
    assert chat.headers["x-agoge-cache"] == "hit"
    assert chat.json()["agoge"]["blend"] == decided["blend"]


async def test_an_inherited_subject_is_told_with_the_exemplars_of_the_turn_it_comes_from(stage: Stage) -> None:
    said = [{"role": "user", "content": "why is the sky blue"}, {"role": "assistant", "content": "Rayleigh."}]
    told = (await decide(stage, {"messages": [*said, {"role": "user", "content": "tell me more"}]})).json()
    assert (told["label"], told["inherited"], told["adapters"]) == ("physics", 1, {"core": 1.0, "physics": 0.8})
    assert told["why"] == "core: always; physics: physics 0.90 >= 0.50; subject inherited from 1 turn before"
    assert told["nearest"] == [{"text": "why is the sky blue", "label": "physics", "similarity": 0.75}]
    assert (await decide(stage, {"input": "why is the sky blue"})).json()["inherited"] == 0


async def test_a_front_end_s_own_task_says_so(stage: Stage) -> None:
    task = "### Task:\nGenerate a 3-5 word title summarizing the chat history.\n<chat_history>sky</chat_history>"
    told = (await decide(stage, {"input": task})).json()
    assert (told["reason"], told["adapters"], told["label"], told["nearest"]) == ("chore", {"core": 1.0}, None, [])
    assert {v["adapter"]: v["reason"] for v in told["verdicts"]}["physics"] == "chore"


async def test_model_asks_here_too(stage: Stage) -> None:
    told = (await decide(stage, {"input": "hello", "model": "academic"})).json()
    assert (told["adapters"], told["alone"], told["asked_by"]) == ({"academic": 1.0}, True, "model")


async def test_an_empty_input_is_the_core_alone(stage: Stage) -> None:
    told = (await decide(stage, {"input": "  "})).json()
    assert (told["adapters"], told["label"], told["nearest"]) == ({"core": 1.0}, None, [])


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({}, "either input"),
        ({"input": "a", "messages": [{"role": "user", "content": "b"}]}, "not both"),
        ({"input": ["a"]}, "must be text"),
        ({"messages": []}, "non-empty list"),
    ],
)
async def test_bad_input_says_what_would_be_right(stage: Stage, payload: object, says: str) -> None:
    answer = await decide(stage, payload)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]
