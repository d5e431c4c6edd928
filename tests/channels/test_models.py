"""GET /v1/models: what it lists is exactly what `model` takes, on every route that takes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from router.core.reply import Inventory
from tests.stage import Stage, staged
from tests.stubs import SpeakingBackend

POLICY = """\
version: 1
base: some/base
adapters:
  core:     { from: ./core,     when: always, aliases: [агоге, ядро] }
  physics:  { from: ./physics,  when: { label: physics, at_least: 0.5 }, weight: 0.8, aliases: [физика] }
  sport:    { from: ./sport,    when: { label: sport, at_least: 0.5 }, weight: 0.8, aliases: [спорт] }
  secret:   { from: ./secret,   when: asked, weight: 0.5 }
  academic: { from: ./academic, when: asked, alone: true, aliases: [академический] }
compose: { at_most: 2 }
backends: [first, second]
tenants:
  school: { may_ask: [academic] }
"""
KEYS = "keys:\n  sk-all: { tenant: default }\n  sk-school: { tenant: school }\n"
ALONE = {"academic": 1.0}
CORE = {"core": 1.0}


def blends(*names: str) -> dict[str, float]:
    weights = {"physics": 0.8, "sport": 0.8, "secret": 0.5}
    return CORE | {name: weights[name] for name in names}


SCHOOL: dict[str, dict[str, float] | None] = {
    "auto": None,
    "academic": ALONE,
    "core": CORE,
    "physics": blends("physics"),
    "sport": blends("sport"),
    "core+physics": blends("physics"),
    "core+physics+sport": blends("physics", "sport"),
    "core+sport": blends("sport"),
}
ALL = SCHOOL | {
    "secret": blends("secret"),
    "core+secret": blends("secret"),
    "core+physics+secret": blends("physics", "secret"),
    "core+secret+sport": blends("secret", "sport"),
}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hello"}]},
    "/v1/responses": {"input": "hello"},
    "/v1/completions": {"prompt": "hello"},
}


@pytest.mark.parametrize(("key", "expected"), [("sk-all", ALL), ("sk-school", SCHOOL)])
async def test_every_listed_id_gives_exactly_its_blend(
    tmp_path: Path, key: str, expected: dict[str, dict[str, float] | None]
) -> None:
    everything = Inventory(sums=frozenset({"core", "physics", "sport", "academic", "secret"}))
    engines = {name: SpeakingBackend(holds=everything) for name in ("first", "second")}
    async with (
        staged(tmp_path, policy=POLICY, backends=engines, keys=KEYS) as stage,
        httpx.AsyncClient(base_url=stage.url, timeout=60, headers={"authorization": f"Bearer {key}"}) as client,
    ):
        listed = (await client.get("/v1/models")).json()
        assert listed["object"] == "list"
        assert listed["data"][0]["id"] == "auto"
        shown = {model["id"]: model["agoge"] and model["agoge"]["adapters"] for model in listed["data"]}
        assert shown == expected
        assert len(listed["data"]) == len(expected)
        for model in listed["data"]:
            assert (await client.get(f"/v1/models/{model['id']}")).json() == model
            for path, body in BODIES.items():
                answer = await client.post(path, json={**body, "model": model["id"]})
                told = answer.json()
                assert answer.status_code == 200, (model, path, told)
                assert told["model"] == model["id"]
                assert told["agoge"]["adapters"] == (expected[model["id"]] or CORE)
                if model["agoge"]:
                    assert told["agoge"]["blend"] == model["agoge"]["blend"]
                    assert told["agoge"]["alone"] is model["agoge"]["alone"] is (model["id"] == "academic")


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("nope", 404, "model_not_found"),
        ("", 404, "model_not_found"),
        ("%20", 404, "model_not_found"),
        ("core+nope", 404, "model_not_found"),
        ("secret", 403, "mode_forbidden"),
        ("core+secret", 403, "mode_forbidden"),
        ("academic+core", 400, "contradiction"),
    ],
)
async def test_what_may_not_be_asked_is_no_model(tmp_path: Path, name: str, status: int, code: str) -> None:
    async with (
        staged(tmp_path, policy=POLICY, keys=KEYS) as stage,
        httpx.AsyncClient(base_url=stage.url, headers={"authorization": "Bearer sk-school"}) as client,
    ):
        answer = await client.get(f"/v1/models/{name}")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (status, code, "model")
        assert "secret" not in error["message"].split(";")[-1]  # what may be asked for instead


@pytest.mark.parametrize(
    ("name", "adapters"),
    [("физика+агоге", blends("physics")), ("physics+core", blends("physics")), ("agoge/sport", blends("sport"))],
)
async def test_a_name_that_is_not_listed_but_taken_is_a_model_too(
    tmp_path: Path, name: str, adapters: dict[str, float]
) -> None:
    async with staged(tmp_path) as stage:
        client = openai.AsyncOpenAI(base_url=f"{stage.url}/v1", api_key="any", max_retries=0)
        model = await client.models.retrieve(name)
        assert model.id == name
        assert model.model_extra is not None
        assert model.model_extra["agoge"]["adapters"] == adapters
        told = await client.completions.create(model=name, prompt="hello")
        assert told.model_extra is not None
        assert told.model_extra["agoge"]["blend"] == model.model_extra["agoge"]["blend"]


async def _names(stage: Stage) -> list[str]:
    async with httpx.AsyncClient(base_url=stage.url) as client:
        return [model["id"] for model in (await client.get("/v1/models")).json()["data"]]


async def test_a_reloaded_policy_is_listed_at_once(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        assert "sport" in await _names(stage)
        text = stage.policy.read_text("utf-8")
        stage.policy.write_text("\n".join(line for line in text.split("\n") if "sport" not in line), "utf-8")
        await stage.watch.reload()
        assert "sport" not in await _names(stage)
        assert "core+physics+sport" not in await _names(stage)
