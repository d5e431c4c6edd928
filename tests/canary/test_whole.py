"""From a policy file to an HTTP answer, on a TGI that computes: what is withdrawn is refused, told and counted."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

import router.canary.proven as proven_module
from router.caches.memory import MemoryCache
from router.canary.findings import Limits
from router.core.reachable import reachable
from router.policy_file import load_policies
from router.service import Router
from router.sinks.log import LogSink
from router.sinks.metrics import MetricsSink
from router.wiring.app import build_app
from router.wiring.reload import Loader, PolicyWatch
from router.wiring.settings import Settings
from tests.backends.tiny_engine import TinyEngine
from tests.backends.tiny_tgi import TinyTgi
from tests.canary.cast import QUICK, Cast
from tests.stage import SECRET
from tests.stubs import WordScorer, listening, until, write_policy

POLICY = """\
version: 1
base: some/base
adapters:
  core:     { from: ./core,     when: always }
  physics:  { from: ./physics,  when: { label: physics, at_least: 0.5 }, weight: 0.8 }
  academic: { from: ./academic, when: asked, alone: true }
compose: { at_most: 1 }
backends: [primary]
"""


@dataclass
class Whole:
    """A running router and what it wrote."""

    client: httpx.AsyncClient
    router: Router
    log: io.StringIO

    async def ask(self, text: str, model: str = "auto") -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 4}
        return await self.client.post("/v1/chat/completions", json=body)

    def lines(self, fact: str) -> list[dict[str, object]]:
        found = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in found if line["fact"] == fact]


@asynccontextmanager
async def whole(folder: Path, *urls: str) -> AsyncIterator[Whole]:
    """Serve POLICY on TGI at `urls`, opened by the real wiring, with what it was launched with."""
    file = write_policy(folder, POLICY)
    names = ",".join(blend.id for blend in reachable(load_policies(file).profiles["default", None]))
    address = f"tgi+http://{','.join(url.removeprefix('http://') for url in urls)}?names={names}"
    settings = Settings(policy=file, backends={"primary": address}, environment={})
    scorer, metrics, log = WordScorer(), MetricsSink(), io.StringIO()
    sinks = (metrics, LogSink(log))

    def record(fact: object) -> None:
        for sink in sinks:
            sink.record(fact)  # type: ignore[arg-type]

    loader = Loader(settings, scorer, record)
    router = Router(await loader.load(), scorer, MemoryCache(), SECRET, sinks)
    app = build_app(router, PolicyWatch(router, loader, settings), metrics, lambda api_key: ("default", None))
    async with listening(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield Whole(client, router, log)
    await router.state.fleet.aclose()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests share their cores: the first look may wait for the whole proof, on a shorter prefix."""
    monkeypatch.setattr("router.wiring.proving.Limits", partial(Limits, prompts=QUICK.prompts))
    monkeypatch.setattr(proven_module, "PATIENCE", 120.0)
    monkeypatch.setattr("router.fleet.LOOK_SECONDS", 130.0)


def pair_of(folder: Path) -> str:
    policy = load_policies(write_policy(folder, POLICY)).profiles["default", None]
    return policy.blend({"core", "physics"}).id


async def test_a_healthy_engine_serves_everything(cast: Cast, tmp_path: Path) -> None:
    async with TinyTgi(TinyEngine(cast.blends)) as tgi, whole(tmp_path, tgi.url) as agoge:
        ready = await agoge.client.get("/readyz")
        assert (ready.status_code, ready.json()["withdrawn"]) == (200, {})
        for text, model in (("sky", "auto"), ("hello", "auto"), ("hello", "academic")):
            assert (await agoge.ask(text, model)).status_code == 200
        assert len(set(tgi.chats)) == 3


async def test_a_blend_that_does_not_act_is_refused_shown_counted_and_logged(cast: Cast, tmp_path: Path) -> None:
    pair = pair_of(tmp_path)
    held = {name: folder for name, folder in cast.blends.items() if name != pair}
    async with TinyTgi(TinyEngine(held)) as tgi, whole(tmp_path, tgi.url) as agoge:
        refused = await agoge.ask("sky")
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (503, "blend_unavailable")
        assert "the canary: it acts like the bare base model" in error["message"]
        assert tgi.chats == []
        assert (await agoge.ask("hello")).status_code == 200
        ready = await agoge.client.get("/readyz")
        assert ready.status_code == 503
        assert set(ready.json()["withdrawn"]["primary"]) == {pair}
        assert ready.json()["unserved"] == [f"default: {pair}"]
        metrics = (await agoge.client.get("/metrics")).text
        assert 'agoge_canary_withdrawn{backend="primary"} 1.0' in metrics
        assert 'agoge_canary_proven{backend="primary"} 2.0' in metrics
        assert 'agoge_canary_rounds_total{backend="primary",outcome="failed"} 1.0' in metrics
        assert "agoge_canary_last_success_timestamp_seconds{" not in metrics
        (line,) = agoge.lines("CanaryFinished")
        assert set(line["failed"]) == {pair}  # type: ignore[call-overload]


async def test_one_replica_without_the_blend_leaves_it_to_the_other(cast: Cast, tmp_path: Path) -> None:
    pair = pair_of(tmp_path)
    held = {name: folder for name, folder in cast.blends.items() if name != pair}
    async with TinyTgi(TinyEngine(held)) as ill, TinyTgi(TinyEngine(cast.blends)) as well:  # noqa: SIM117 - urls first
        async with whole(tmp_path, ill.url, well.url) as agoge:
            for _ in range(3):
                assert (await agoge.ask("sky")).status_code == 200
            assert (ill.chats, well.chats) == ([], [pair] * 3)
            ready = (await agoge.client.get("/readyz")).json()
            assert (ready["status"], ready["withdrawn"]) == ("ready", {})
            states = ready["replicas"]["primary"]
            assert {name: set(state["withdrawn"]) for name, state in states.items()} == {
                "primary#1": {pair},
                "primary#2": set(),
            }


async def test_flags_changed_under_a_running_router_are_noticed(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine restarts with CUDA graphs: everything is withdrawn before anybody is answered by the base."""
    async with TinyTgi(TinyEngine(cast.blends)) as tgi, whole(tmp_path, tgi.url) as agoge:
        assert (await agoge.ask("hello")).status_code == 200
        tgi.healthy = False
        await agoge.router.state.fleet.look()
        tgi.healthy, tgi.engine.cuda_graphs = True, True
        refused = await agoge.ask("hello")  # looks again by itself, and waits for the proof
        assert refused.status_code == 503
        assert "later tokens are not computed with it" in refused.json()["error"]["message"]
        assert len(tgi.chats) == 1
        await until(lambda: len(agoge.lines("CanaryFinished")) == 2)
