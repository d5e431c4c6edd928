"""POST /v1/feedback: what is kept, for whom, and what is refused."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.core.facts import Judged
from router.core.outcome import Outcome
from router.outcomes.file import FileOutcomes
from router.ports import OutcomesUnavailable
from tests.stage import Stage, staged
from tests.stubs import KEYS, TENANTS


class Full:
    """A store on a disk that is full."""

    async def add(self, outcome: Outcome) -> None:
        raise OutcomesUnavailable("/secret/place: no space left on device")

    async def aclose(self) -> None: ...


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "outcomes.jsonl"


@pytest.fixture
async def stage(tmp_path: Path, file: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, outcomes=FileOutcomes(file)) as live:
        yield live


async def post(stage: Stage, path: str, body: dict[str, Any], key: str = "") -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        return await client.post(path, json=body, headers=headers)


async def decided(stage: Stage, text: str = "why is the sky blue", key: str = "", **more: Any) -> str:
    id: str = (await post(stage, "/v1/decisions", {"input": text, **more}, key)).json()["decision_id"]
    return id


def kept(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


async def test_it_is_on_disk_when_it_is_answered(stage: Stage, file: Path) -> None:
    id = await decided(stage)
    answer = await post(
        stage, "/v1/feedback", {"decision_id": id, "verdict": "wrong", "label": "sport", "text": "небо?"}
    )
    assert answer.status_code == 201
    assert answer.json()["object"] == "agoge.outcome"
    (line,) = kept(file)
    assert line == {name: value for name, value in answer.json().items() if name != "object"}
    assert abs(line.pop("at") - time.time()) < 60
    assert line == {
        "decision_id": id,
        "verdict": "wrong",
        "decided": "physics",
        "label": "sport",
        "text": "небо?",
        "tenant": "default",
        "role": None,
        "channel": "api",
        "scored": True,
    }
    assert stage.facts.of(Judged) == [Judged(id, "wrong", "physics", "sport", "api")]


@pytest.mark.parametrize(
    ("said", "means"), [("up", "right"), ("down", "wrong"), ("right", "right"), ("wrong", "wrong")]
)
async def test_thumbs_are_verdicts_and_a_prompt_is_kept_only_when_sent(
    stage: Stage, file: Path, said: str, means: str
) -> None:
    id = await decided(stage, "a marker about the sky")
    assert (await post(stage, "/v1/feedback", {"decision_id": id, "verdict": said})).status_code == 201
    assert kept(file)[0]["verdict"] == means
    assert kept(file)[0]["text"] is None
    assert "marker" not in json.dumps(kept(file))


async def test_a_chat_answer_s_header_is_enough(stage: Stage, file: Path) -> None:
    chat = await post(stage, "/v1/chat/completions", {"messages": [{"role": "user", "content": "a marathon"}]})
    id = chat.headers["x-agoge-decision-id"]
    assert (await post(stage, "/v1/feedback", {"decision_id": id, "verdict": "up"})).status_code == 201
    assert (kept(file)[0]["decision_id"], kept(file)[0]["decided"]) == (id, "sport")


async def test_what_was_not_scored_from_the_text_itself_says_so(stage: Stage, file: Path) -> None:
    said = [{"role": "user", "content": "why is the sky blue"}, {"role": "assistant", "content": "Rayleigh."}]
    follow_up = {"messages": [*said, {"role": "user", "content": "tell me more"}]}
    inherited = (await post(stage, "/v1/decisions", follow_up)).json()["decision_id"]
    asked = await decided(stage, "why is the sky blue", model="sport+core")
    for id in (inherited, asked, await decided(stage)):
        assert (await post(stage, "/v1/feedback", {"decision_id": id, "verdict": "up"})).status_code == 201
    assert [(each["decided"], each["scored"]) for each in kept(file)] == [
        ("physics", False),
        ("physics", False),
        ("physics", True),
    ]


async def test_another_callers_decision_is_not_found_and_looks_like_none(tmp_path: Path, file: Path) -> None:
    async with staged(tmp_path, policy=TENANTS, keys=KEYS, outcomes=FileOutcomes(file)) as stage:
        id = await decided(stage, key="sk-plain")
        body = {"decision_id": id, "verdict": "up"}
        foreign = [await post(stage, "/v1/feedback", body, key) for key in ("sk-clinic", "sk-editor")]
        unknown = await post(stage, "/v1/feedback", {"decision_id": "dec_0", "verdict": "up"}, "sk-plain")
        assert [each.status_code for each in (*foreign, unknown)] == [404] * 3
        for each in foreign:
            assert each.text.replace(id, "dec_0") == unknown.text
        assert unknown.json()["error"]["code"] == "decision_not_found"
        assert unknown.json()["error"]["param"] == "decision_id"
        assert (await post(stage, "/v1/feedback", body)).status_code == 401
        assert kept(file) == []
        assert (await post(stage, "/v1/feedback", body, "sk-plain-too")).status_code == 201
        own = await decided(stage, key="sk-clinic")
        await post(stage, "/v1/feedback", {"decision_id": own, "verdict": "up"}, "sk-clinic")
        assert [each["tenant"] for each in kept(file)] == ["default", "clinic"]


@pytest.mark.parametrize(
    ("more", "param", "says"),
    [
        ({"verdict": "good"}, "verdict", "right or wrong (or up or down), not 'good'"),
        ({"verdict": ["up"]}, "verdict", "right or wrong"),
        ({"label": "astrology"}, "label", "there are general, physics, sport"),
        ({"label": 5}, "label", "must be text, not int"),
        ({"verdict": "right", "label": "sport"}, "label", "the decision's was physics"),
        ({"text": "x" * 20_001}, "text", "20000 are allowed"),
        ({"decision_id": None}, "decision_id", "x-agoge-decision-id"),
    ],
)
async def test_bad_input_says_what_would_be_right(
    stage: Stage, file: Path, more: dict[str, Any], param: str, says: str
) -> None:
    answer = await post(stage, "/v1/feedback", {"decision_id": await decided(stage), "verdict": "wrong", **more})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert says in answer.json()["error"]["message"]
    assert kept(file) == []


async def test_right_may_repeat_the_label_that_was_decided(stage: Stage, file: Path) -> None:
    body = {"decision_id": await decided(stage), "verdict": "right", "label": "physics"}
    assert (await post(stage, "/v1/feedback", body)).status_code == 201
    assert kept(file)[0]["label"] == "physics"


@pytest.mark.parametrize("store", [Full(), None])
async def test_what_cannot_be_kept_is_refused(
    tmp_path: Path, store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with staged(tmp_path, outcomes=store) as stage:
        body = {"decision_id": await decided(stage), "verdict": "up", "text": "a marker"}
        answer = await post(stage, "/v1/feedback", body)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "outcomes_unavailable"
        assert "could not be kept" in answer.json()["error"]["message"]
        assert answer.headers["x-should-retry"] == "true"
        assert "/secret/place" not in answer.text
        assert "feedback was not kept" in caplog.text
        assert "marker" not in caplog.text
