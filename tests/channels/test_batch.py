"""POST /v1/decisions with a batch: order, bounds, and one entry's failure in its own place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.channels.batch import AT_ONCE
from router.core.facts import RequestRefused
from router.core.scores import Scores
from tests.stage import Stage, staged
from tests.stubs import POLICY

SKY = {"messages": [{"role": "user", "content": "why is the sky blue"}]}
VARYING = ("decision_id", "cache")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as live:
        yield live


async def decide(stage: Stage, body: dict[str, Any], key: str = "") -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(base_url=stage.url, timeout=60) as client:
        return await client.post("/v1/decisions", json=body, headers=headers)


async def test_each_entry_is_decided_as_it_would_be_alone_and_in_order(stage: Stage) -> None:
    entries = [
        SKY,
        {"prompt": "a marathon"},
        {"input": "hello", "model": "academic"},
        {"prompt": "режим: спорт\nsky"},
    ]
    many = (await decide(stage, {"batch": entries})).json()
    assert many["object"] == "list"
    for entry, told in zip(entries, many["data"], strict=True):
        single = {"input": entry["prompt"]} if "prompt" in entry else entry
        alone = (await decide(stage, single)).json()
        assert {**told, **{name: alone[name] for name in VARYING}, "nearest": alone["nearest"]} == alone
    assert [told["adapters"] for told in many["data"]] == [
        {"core": 1.0, "physics": 0.8},
        {"core": 1.0, "sport": 0.8},
        {"academic": 1.0},
        {"core": 1.0, "sport": 0.8},
    ]
    assert stage.backends["first"].prompts == []


async def test_order_is_kept_when_later_entries_are_quicker_and_few_are_scored_at_once(stage: Stage) -> None:
    scoring, most = 0, 0
    plain = stage.scorer.score

    async def score(text: str) -> Scores:
        nonlocal scoring, most
        scoring += 1
        most = max(most, scoring)
        await asyncio.sleep(0.05 if "first" in text else 0.001)
        scoring -= 1
        return await plain(text)

    stage.scorer.score = score  # type: ignore[method-assign]
    entries = [{"prompt": f"{'first sky' if n % 7 == 0 else 'marathon'} number {n}"} for n in range(256)]
    told = (await decide(stage, {"batch": entries})).json()["data"]
    assert [each["label"] for each in told] == ["physics" if n % 7 == 0 else "sport" for n in range(256)]
    assert len({each["decision_id"] for each in told}) == 256
    assert 1 < most <= AT_ONCE


async def test_a_wrong_entry_has_its_error_in_its_place_and_the_others_their_decision(stage: Stage) -> None:
    entries = [
        SKY,
        "sky",
        {"model": "core"},
        {"prompt": "x", "input": "x"},
        {"prompt": "x", "model": "nobody"},
        SKY,
    ]
    answer = await decide(stage, {"batch": entries})
    assert answer.status_code == 200
    told = answer.json()["data"]
    assert [each.get("label") for each in told] == ["physics", None, None, None, None, "physics"]
    errors = [each["error"] for each in told[1:5]]
    assert [each["param"] for each in errors] == [
        "batch[1]",
        "batch[2].input",
        "batch[3].prompt",
        "batch[4].model",
    ]
    assert errors[3]["code"] == "model_not_found"
    assert "core" in errors[3]["message"]
    assert len(stage.facts.of(RequestRefused)) == 4
    assert "x-agoge-decision-id" not in answer.headers


async def test_a_fault_of_our_own_costs_one_entry(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    plain = stage.scorer.score

    async def score(text: str) -> Scores:
        if "secret" in text:
            raise RuntimeError("a fault")
        return await plain(text)

    stage.scorer.score = score  # type: ignore[method-assign]
    told = (await decide(stage, {"batch": [{"prompt": "a secret"}, {"prompt": "sky"}]})).json()["data"]
    assert told[0]["error"]["code"] == "internal_error"
    assert "fault" not in told[0]["error"]["message"]
    assert told[1]["label"] == "physics"
    assert "an entry of a batch failed" in caplog.text


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"batch": []}, "non-empty list"),
        ({"batch": {"prompt": "sky"}}, "non-empty list"),
        ({"batch": [SKY] * 257}, "257 entries; 256 are allowed"),
        ({"batch": [SKY], "input": "sky"}, "input stands beside batch"),
        ({"batch": [SKY], "model": "core"}, "model stands beside batch"),
    ],
)
async def test_a_bad_batch_is_refused_as_a_whole(stage: Stage, body: dict[str, Any], says: str) -> None:
    answer = await decide(stage, body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]
    assert stage.scorer.calls == 0


async def test_a_batch_is_decided_for_its_caller(tmp_path: Path) -> None:
    policy = POLICY + "tenants: { clinic: { compose: { at_most: 1 } } }\n"
    keys = "keys:\n  sk-clinic: { tenant: clinic }\n"
    async with staged(tmp_path, policy=policy, keys=keys) as stage:
        assert (await decide(stage, {"batch": [SKY]})).status_code == 401
        told = (await decide(stage, {"batch": [SKY]}, "sk-clinic")).json()["data"]
        assert told[0]["tenant"] == "clinic"
