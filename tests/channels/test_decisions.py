"""POST /v1/decisions: the same decision as chat would take, explained, and no engine called. GET: by its id."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from router.core.scores import Neighbour
from tests.stage import Stage, staged
from tests.stubs import KEYS, POLICY, TENANTS

NEAREST = [{"text": "why is the sky blue", "label": "physics", "similarity": 0.75, "distance": 0.25}]


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
    assert told["nearest"] == NEAREST
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
    assert told["nearest"] == [
        {"text": "why is the sky blue", "label": "physics", "similarity": 0.75, "distance": 0.25}
    ]
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


async def test_the_explanation_names_the_rule_the_runner_up_and_the_margins(stage: Stage) -> None:
    told = (await decide(stage, {"input": "why is the sky blue"})).json()["explanation"]
    assert told["rule"] == "best_scores"
    assert told["because"].startswith("rule 3: best by score among the open gates: physics")
    assert told["runner_up"] == {"label": "general", "score": 0.05, "gap": pytest.approx(0.85)}
    physics, sport = told["margins"]
    assert (physics["adapter"], physics["speaks"], physics["joins_at"]) == ("physics", True, None)
    assert physics["margin"] == pytest.approx(0.4)
    assert (sport["adapter"], sport["margin"], sport["joins_at"]) == ("sport", pytest.approx(-0.45), 0.5)
    assert sport["because"] == "would have joined at 0.50; it has 0.05"


async def test_neighbours_of_a_fresh_decision_cost_no_second_embedding(stage: Stage) -> None:
    asked: list[str] = []

    async def nearest(text: str, count: int) -> list[Neighbour]:
        asked.append(text)
        return [Neighbour("asked anew", "physics", 0.5)]

    stage.scorer.nearest = nearest  # type: ignore[method-assign]
    assert (await decide(stage, {"input": "sky"})).json()["nearest"] == NEAREST
    assert asked == []
    again = (await decide(stage, {"input": "sky"})).json()
    assert (again["cache"], again["nearest"][0]["text"], asked) == ("hit", "asked anew", ["sky"])


@pytest.mark.parametrize("stream", [False, True])
async def test_the_link_of_an_answer_leads_to_its_explanation(stage: Stage, stream: bool) -> None:
    messages = [{"role": "user", "content": "a secret about the sky"}]
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        chat = await client.post("/v1/chat/completions", json={"messages": messages, "stream": stream})
        link = chat.links["describedby"]
        assert link["url"] == f"/v1/decisions/{chat.headers['x-agoge-decision-id']}"
        answer = await client.get(link["url"])
        decided = (await client.post("/v1/decisions", json={"messages": messages})).json()
    told = answer.json()
    assert answer.status_code == 200
    assert (told["decision_id"], told["cache"]) == (chat.headers["x-agoge-decision-id"], "miss")
    for same in ("object", "label", "scores", "verdicts", "explanation", "nearest", "blend", "policy", "tenant"):
        assert told[same] == decided[same], same
    assert told["nearest"] == NEAREST
    assert "secret" not in answer.text


async def test_by_id_a_decision_out_of_the_cache_has_its_explanation_and_no_exemplars(stage: Stage) -> None:
    first, again = [(await decide(stage, {"input": "sky"})) for _ in range(2)]
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        fresh, cached = [(await client.get(each.links["describedby"]["url"])).json() for each in (first, again)]
    assert (fresh["cache"], fresh["nearest"]) == ("miss", NEAREST)
    assert (cached["cache"], cached["nearest"]) == ("hit", None)
    assert cached["explanation"] == fresh["explanation"]
    assert cached["decision_id"] != fresh["decision_id"]


async def test_a_decision_is_explained_by_the_policy_it_was_taken_under(stage: Stage) -> None:
    link = (await decide(stage, {"input": "sky"})).links["describedby"]["url"]
    before = stage.router.state.policies.revision
    stage.policy.write_text(POLICY.replace("at_least: 0.5 }", "at_least: 0.95 }"), encoding="utf-8")
    await stage.watch.reload()
    assert stage.router.state.policies.revision != before
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        told = (await client.get(link)).json()
    assert [each["gate"] for each in told["explanation"]["margins"]] == [0.5, 0.5]


async def test_another_callers_decision_is_not_found_and_looks_like_none(tmp_path: Path) -> None:
    async with (
        staged(tmp_path, policy=TENANTS, keys=KEYS) as stage,
        httpx.AsyncClient(base_url=stage.url, timeout=20) as client,
    ):

        async def told(key: str, id: str) -> httpx.Response:
            return await client.get(f"/v1/decisions/{id}", headers={"authorization": f"Bearer {key}"})

        made = await client.post(
            "/v1/decisions", json={"input": "sky"}, headers={"authorization": "Bearer sk-plain"}
        )
        id = made.headers["x-agoge-decision-id"]
        assert (await told("sk-plain", id)).json()["decision_id"] == id
        assert (await told("sk-plain-too", id)).status_code == 200  # the same tenant and role
        for other in ("sk-editor", "sk-clinic"):
            refused = await told(other, id)
            assert (refused.status_code, refused.json()["error"]["code"]) == (404, "decision_not_found")
            unknown = (await told(other, "dec_0")).json()["error"]["message"]
            assert refused.json()["error"]["message"].replace(id, "dec_0") == unknown


async def test_an_id_that_nobody_gave_is_refused_briefly(stage: Stage) -> None:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        answer = await client.get(f"/v1/decisions/{'x' * 5000}")
    assert answer.status_code == 404
    assert len(answer.text) < 600
    assert "POST /v1/decisions explains a prompt" in answer.json()["error"]["message"]


async def test_whoever_calls_the_engine_in_our_place_is_told_what_it_may_read(stage: Stage) -> None:
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "mode: physics"},
        {"role": "assistant", "content": "Now speaking: core and physics."},
        {"role": "user", "content": [{"type": "text", "text": "why is the sky blue"}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Rayleigh"},
    ]
    told = (await decide(stage, {"messages": said, "for_engine": True})).json()
    assert told["for_engine"] == {"messages": [said[0], said[3], said[4]], "confirmation": None}
    bare = (await decide(stage, {"messages": said[:2], "for_engine": True})).json()["for_engine"]
    assert bare == {
        "messages": said[:1],
        "confirmation": 'Now speaking: core + physics. To switch off: "mode: auto".',
    }


async def test_a_decision_repeats_no_prompt_unless_it_is_asked_to(stage: Stage) -> None:
    assert "for_engine" not in (await decide(stage, {"input": "why is the sky blue"})).json()
    refused = await decide(stage, {"input": "why is the sky blue", "for_engine": "yes"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "for_engine")
    told = (await decide(stage, {"input": "a secret plan", "for_engine": True})).json()
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        kept = await client.get(f"/v1/decisions/{told['decision_id']}")
    assert "secret" not in kept.text
