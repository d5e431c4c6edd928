"""The gpu profile end to end, with the fake TGI in TGI's place: policy, inventory, service and client as shipped.

Only the scorer is a stub (the words decide) and the cache is in memory; the rest is what compose.yaml starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from router.backends.tgi import parse_lora_adapters
from router.caches.memory import MemoryCache
from router.service import Router
from router.sinks.metrics import MetricsSink
from router.wiring.app import build_app
from router.wiring.reload import Loader, PolicyWatch
from tests.backends.fake_tgi import FakeTgi
from tests.backends.prompts import until
from tests.deploy.compose_file import ROOT
from tests.deploy.test_compose import settings_of
from tests.stubs import WordScorer, listening

LINE = (ROOT / "deploy" / "tgi" / "adapters.env").read_text(encoding="utf-8").strip()
LORA_ADAPTERS = LINE.removeprefix("LORA_ADAPTERS=")
NAMES = parse_lora_adapters(LORA_ADAPTERS)
SKY = "why is the sky blue?"


@asynccontextmanager
async def served(
    fake: FakeTgi, lora_adapters: str = LORA_ADAPTERS, *, canary: bool = False
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the profile's own settings on `fake`, which takes the place of http://tgi:80."""
    settings = settings_of("router")
    address = settings.backends["primary"].replace("http://tgi:80", fake.url)
    assert fake.url in address
    address += "" if canary else "&canary=off"
    environment = {**settings.environment, "LORA_ADAPTERS": lora_adapters}
    settings = replace(settings, backends={"primary": address}, environment=environment)
    fake.api_key = settings.environment["TGI_API_KEY"]
    scorer, metrics = WordScorer(), MetricsSink()
    loader = Loader(settings, scorer, metrics.record)
    router = Router(await loader.load(), scorer, MemoryCache(), settings.secret(), (metrics,))
    app = build_app(router, PolicyWatch(router, loader, settings), metrics, lambda api_key: ("default", None))
    async with listening(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client
    await router.state.fleet.aclose()


def body(text: str, model: str = "auto", **more: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


@pytest.mark.parametrize(
    ("text", "model", "adapters"),
    [
        (SKY, "auto", "core=1.0,physics=0.8"),
        ("how to run a marathon?", "auto", "core=1.0,sport=0.8"),
        ("hello", "auto", "core=1.0"),
        (SKY, "academic", "academic=1.0"),
    ],
)
async def test_every_speaker_answers_under_its_own_name(text: str, model: str, adapters: str) -> None:
    async with FakeTgi(names=list(NAMES)) as fake, served(fake) as client:
        answer = await client.post("/v1/chat/completions", json=body(text, model))
        assert answer.status_code == 200
        assert answer.headers["x-agoge-adapters"] == adapters
        said = answer.json()["choices"][0]["message"]["content"]
        assert said.startswith(f"{answer.headers['x-agoge-blend']} says")
        assert answer.headers["x-agoge-blend"] in NAMES
        assert fake.models_asked == [answer.headers["x-agoge-blend"]]


async def test_it_is_ready_when_tgi_is() -> None:
    async with FakeTgi(names=list(NAMES)) as fake, served(fake, canary=True) as client:
        assert (await client.get("/readyz")).status_code == 200
        probed = {seen.body["parameters"].get("adapter_id") for seen in fake.seen if seen.path == "/generate"}
        assert probed == {None, *NAMES}  # and every blend was proved before


async def test_a_blend_that_tgi_was_not_launched_with_is_refused_and_never_sent() -> None:
    held = [item for item in LORA_ADAPTERS.split(",") if not item.startswith("core+physics-")]
    async with (
        FakeTgi(names=[item.split("=")[0] for item in held]) as fake,
        served(fake, ",".join(held)) as client,
    ):
        for stream in (False, True):
            refused = await client.post("/v1/chat/completions", json=body(SKY, stream=stream))
            assert refused.status_code == 503
            error = refused.json()["error"]
            assert error["code"] == "blend_unavailable"
            assert "core+physics-" in error["message"]
        assert fake.seen == []
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.post("/v1/chat/completions", json=body("hello"))).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("overloaded", 429, "rate_limit_exceeded"),
        ("validation", 422, "invalid_request"),
        ("too long", 422, "context_length_exceeded"),
        ("424", 502, "backend_failed"),
        ("401", 502, "backend_failed"),
        ("die first", 502, "backend_unreachable"),
    ],
)
async def test_an_error_inside_a_200_becomes_a_status_of_its_own(
    fault: str, status: int, code: str, stream: bool
) -> None:
    async with FakeTgi(names=list(NAMES), fault=fault) as fake, served(fake) as client:
        answer = await client.post("/v1/chat/completions", json=body(SKY, stream=stream))
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_a_caller_who_hangs_up_frees_the_slot() -> None:
    async with FakeTgi(names=list(NAMES), held=asyncio.Event()) as fake, served(fake) as client:
        async with client.stream("POST", "/v1/chat/completions", json=body(SKY, stream=True)) as answer:
            assert answer.status_code == 200
            await anext(answer.aiter_bytes())
            assert fake.running == 1
        await until(lambda: fake.running == 0 and fake.seen[0].disconnected)
