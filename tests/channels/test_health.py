"""Health, readiness, metrics, OpenAPI, keys, and what happens when the policy file changes under a live server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.core.errors import BackendUnreachable
from router.core.facts import PolicyReloaded
from router.replicas import Replicas
from tests.stage import Stage, staged
from tests.stubs import POLICY, SpeakingBackend


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as live:
        yield live


async def get(stage: Stage, path: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20, headers=headers) as client:
        return await client.get(path)


async def chat(stage: Stage, text: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20, headers=headers) as client:
        return await client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": text}]})


async def test_ready_when_every_reachable_blend_has_a_live_backend(stage: Stage) -> None:
    ready = await get(stage, "/readyz")
    assert ready.status_code == 200
    assert ready.json()["backends"] == {"first": "up", "second": "up"}
    assert (await get(stage, "/healthz")).json()["policy"] == stage.router.state.policies.revision


async def test_not_ready_while_every_backend_is_down_and_ready_again_by_itself(tmp_path: Path) -> None:
    engine = SpeakingBackend(down=BackendUnreachable("no route to engine"))
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        unready = await get(stage, "/readyz")
        assert unready.status_code == 503
        assert unready.json()["backends"]["first"] == "no route to engine"
        assert unready.json()["unserved"] != []
        assert (await chat(stage, "sky")).status_code == 503
        engine.down = None
        assert (
            await chat(stage, "sky")
        ).status_code == 200  # a request looks again instead of waiting for a timer
        assert (await get(stage, "/readyz")).status_code == 200


async def test_metrics_count_decisions_by_blend_and_cache(stage: Stage) -> None:
    await chat(stage, "sky")
    await chat(stage, "sky")
    text = (await get(stage, "/metrics")).text
    assert 'agoge_decisions_total{cache="hit",label="physics",reason="scored"} 1.0' in text
    assert 'agoge_decisions_total{cache="miss",label="physics",reason="scored"} 1.0' in text
    assert 'agoge_tenant_decisions_total{tenant="default"} 2.0' in text
    assert 'agoge_decision_seconds_count{cache="hit"} 1.0' in text
    assert 'agoge_completion_tokens_total{backend="first"' in text
    assert "sky" not in text


async def test_openapi_lists_the_channel(stage: Stage) -> None:
    paths = (await get(stage, "/openapi.json")).json()["paths"]
    assert {"/v1/chat/completions", "/v1/models", "/v1/decisions", "/healthz", "/readyz", "/metrics"} <= set(paths)


async def test_unknown_paths_and_methods_answer_in_openais_form(stage: Stage) -> None:
    missing = await get(stage, "/v1/nothing")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert "POST /v1/chat/completions" in missing.json()["error"]["message"]
    wrong = await get(stage, "/v1/chat/completions")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")


KEYS = """\
keys:
  sk-editor: { tenant: acme, role: editor }
  sk-guest: { tenant: acme }
"""
TENANTS = (
    POLICY
    + """\
tenants:
  acme:
    may_ask: []
    roles:
      editor: { may_ask: [academic] }
"""
)


async def test_a_key_switches_the_whole_profile(tmp_path: Path) -> None:
    async with staged(tmp_path, policy=TENANTS, keys=KEYS) as stage:
        for wrong in ({}, {"authorization": "Bearer nope"}, {"authorization": "Basic sk-editor"}):
            refused = await chat(stage, "sky", **wrong)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        isolated = "режим: академический\nпривет"
        guest = await chat(stage, isolated, authorization="Bearer sk-guest")
        assert (guest.status_code, guest.json()["error"]["code"]) == (403, "mode_forbidden")
        editor = await chat(stage, isolated, authorization="Bearer sk-editor")
        assert editor.json()["agoge"]["adapters"] == {"academic": 1.0}
        listed = (await get(stage, "/v1/models", authorization="Bearer sk-guest")).json()["data"]
        assert "academic" not in [model["id"] for model in listed]
        assert stage.facts.seen


async def test_a_good_policy_is_swapped_in_and_cached_decisions_of_the_old_one_are_gone(stage: Stage) -> None:
    assert (await chat(stage, "sky")).json()["agoge"]["adapters"]["physics"] == 0.8
    stage.policy.write_text(
        POLICY.replace("weight: 0.8, aliases: [физика]", "weight: 0.5, aliases: [физика]"), "utf-8"
    )
    await stage.watch.reload()
    told = (await chat(stage, "sky")).json()["agoge"]
    assert (told["adapters"]["physics"], told["cache"]) == (0.5, "miss")


async def test_a_bad_policy_keeps_the_old_one_and_says_so(stage: Stage) -> None:
    before = stage.router.state
    stage.policy.write_text(POLICY.replace("when: always", "when: sometimes"), "utf-8")
    await stage.watch.reload()
    assert stage.router.state is before
    assert (await chat(stage, "sky")).status_code == 200
    health = (await get(stage, "/healthz")).json()
    assert health["policy_stale"] is True
    assert "adapters.core.when" in health["policy_error"]
    assert (await get(stage, "/readyz")).status_code == 200
    assert "agoge_policy_stale 1.0" in (await get(stage, "/metrics")).text
    (fact,) = stage.facts.of(PolicyReloaded)
    assert fact.error is not None
    stage.policy.write_text(POLICY, "utf-8")
    await stage.watch.reload()
    assert (await get(stage, "/healthz")).json()["policy_stale"] is False


async def test_a_label_that_the_classifier_does_not_know_is_a_bad_policy(stage: Stage) -> None:
    stage.policy.write_text(POLICY.replace("label: sport", "label: sports"), "utf-8")
    await stage.watch.reload()
    assert stage.watch.trouble is not None
    assert "sports" in stage.watch.trouble


async def test_readiness_tells_what_was_withdrawn_and_why(tmp_path: Path) -> None:
    engine = SpeakingBackend()
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        policy = stage.router.state.policies.profile("default", None)
        pair = policy.blend({"core", "physics"})
        engine.holds = replace(engine.holds, withdrawn={pair.id: "acts like the bare base model"})
        await stage.router.state.fleet.look()
        unready = await get(stage, "/readyz")
        assert unready.status_code == 503
        why = {pair.id: "acts like the bare base model"}
        assert unready.json()["withdrawn"] == {"first": why, "second": why}
        assert unready.json()["unserved"] == [f"default: {pair.id}"]
        refused = await chat(stage, "sky")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "blend_unavailable")
        assert "acts like the bare base model" in refused.json()["error"]["message"]
        assert engine.prompts == []
        assert (await chat(stage, "marathon")).status_code == 200  # the others are served


async def test_readiness_shows_every_replica_by_name(tmp_path: Path) -> None:
    engines = {"h1:80": SpeakingBackend(), "h2:80": SpeakingBackend(down=BackendUnreachable("no route"))}
    several: dict[str, Any] = {"first": Replicas("first", engines), "second": SpeakingBackend()}
    async with staged(tmp_path, backends=several) as stage:
        ready = (await get(stage, "/readyz")).json()
        assert ready["status"] == "ready"
        assert ready["replicas"] == {
            "first": {
                "h1:80": {"state": "up", "streams": 0, "withdrawn": {}},
                "h2:80": {"state": "no route", "streams": 0, "withdrawn": {}},
            }
        }
