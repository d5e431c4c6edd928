"""The gpu profile with built blends, end to end: build, publish, adapters.env, router, TGI; only TGI is a fake.

The adapters are small and random, on the base that policies/tgi.yaml names: what is tested is who is asked.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from blends.manifest import read_manifest
from router.backends.tgi import parse_lora_adapters
from router.caches.memory import MemoryCache
from router.cli.main import command
from router.core.reachable import reachable
from router.policy_file import load_policies
from router.service import Router
from router.sinks.metrics import MetricsSink
from router.wiring.app import build_app
from router.wiring.reload import Loader, PolicyWatch
from tests.backends.fake_tgi import FakeTgi
from tests.blends.small import write_adapter
from tests.deploy.compose_file import ROOT
from tests.deploy.test_compose import settings_of
from tests.stubs import WordScorer, listening

BASE = "meta-llama/Llama-3.1-8B-Instruct"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """policies/tgi.yaml with adapters beside it, and its blends built into tgi/."""
    shutil.copy(ROOT / "policies" / "tgi.yaml", tmp_path / "tgi.yaml")
    for seed, name in enumerate(("core", "physics", "sport", "academic")):
        write_adapter(tmp_path / "adapters-8b" / name, 8, seed, base=BASE)
    build(tmp_path)
    return tmp_path


def build(place: Path) -> None:
    done = CliRunner().invoke(command, ["blends", "build", str(place / "tgi.yaml"), "--out", str(place / "tgi")])
    assert done.exit_code == 0, done.output


def environment(place: Path) -> dict[str, str]:
    """Read the published file as an env_file is read."""
    args = ["blends", "publish", "--engine", "tgi", "--blends", str(place / "tgi"), "--root", "/adapters"]
    done = CliRunner().invoke(command, args)
    assert done.exit_code == 0, done.output
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


@asynccontextmanager
async def served(place: Path, fake: FakeTgi, variables: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    settings = settings_of("router")
    address = settings.backends["primary"].replace("http://tgi:80", fake.url)
    settings = replace(
        settings,
        policy=place / "tgi.yaml",
        blends=place / "tgi",
        backends={"primary": address},
        environment={**settings.environment, **variables},
    )
    fake.api_key = settings.environment["TGI_API_KEY"]
    scorer, metrics = WordScorer(), MetricsSink()
    loader = Loader(settings, scorer, metrics.record)
    router = Router(await loader.load(), scorer, MemoryCache(), settings.secret(), (metrics,))
    app = build_app(router, PolicyWatch(router, loader, settings), metrics, lambda api_key: ("default", None))
    async with listening(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client
    await router.state.fleet.aclose()


def test_what_is_published_is_what_the_policy_reaches(place: Path) -> None:
    names = parse_lora_adapters(environment(place)["LORA_ADAPTERS"])
    published = read_manifest(place / "tgi").published
    wanted = {
        blend.id for policy in load_policies(place / "tgi.yaml").profiles.values() for blend in reachable(policy)
    }
    assert published.keys() == wanted
    assert set(names) == set(published.values())
    shipped = (ROOT / "deploy" / "tgi" / "adapters.env").read_text(encoding="utf-8").strip()
    assert set(parse_lora_adapters(shipped.removeprefix("LORA_ADAPTERS="))) == wanted  # the ids are the same ones


def body(text: str, model: str = "auto") -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize(
    ("text", "model", "adapters"),
    [
        ("why is the sky blue?", "auto", "core=1.0,physics=0.8"),
        ("hello", "auto", "core=1.0"),
        ("hello", "academic", "academic=1.0"),
    ],
)
async def test_tgi_is_asked_for_the_name_of_the_content(place: Path, text: str, model: str, adapters: str) -> None:
    variables = environment(place)
    names = parse_lora_adapters(variables["LORA_ADAPTERS"])
    async with FakeTgi(names=list(names)) as fake, served(place, fake, variables) as client:
        assert (await client.get("/readyz")).status_code == 200
        answer = await client.post("/v1/chat/completions", json=body(text, model))
        assert answer.status_code == 200
        assert answer.headers["x-agoge-adapters"] == adapters
        served_as = read_manifest(place / "tgi").published[answer.headers["x-agoge-blend"]]
        assert fake.models_asked == [served_as]
        assert answer.json()["choices"][0]["message"]["content"].startswith(f"{served_as} says")


async def test_a_retrained_adapter_is_refused_until_tgi_is_started_with_it(place: Path) -> None:
    old = environment(place)
    write_adapter(place / "adapters-8b" / "physics", 8, seed=99, base=BASE)
    build(place)
    names = parse_lora_adapters(old["LORA_ADAPTERS"])
    async with FakeTgi(names=list(names)) as fake, served(place, fake, old) as client:
        refused = await client.post("/v1/chat/completions", json=body("why is the sky blue?"))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "blend_unavailable")
        assert fake.models_asked == []
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.post("/v1/chat/completions", json=body("hello"))).status_code == 200
