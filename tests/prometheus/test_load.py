"""What Prometheus has counted after a load is what the load did."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.engine_thread import EngineThread
from tests.live import ROOT, own_policy, serving
from tests.prometheus.conftest import Prometheus, scraping

MODELS = ("core", "academic")
TEXTS = [
    "why is the sky blue",
    "how do I train for a marathon",
    "what is love",
    "почему небо синее",
    "hello there",
]
ROUNDS, AT_ONCE = 24, 8


@dataclass
class Load:
    """What clients did and saw."""

    caches: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    blends: Counter[str] = field(default_factory=Counter)
    answers: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0  # of all requests, one after the other

    async def ask(self, client: httpx.AsyncClient, text: str, stream: bool, **more: Any) -> None:
        body = {"messages": [{"role": "user", "content": text}], "stream": stream, **more}
        if stream:
            body["stream_options"] = {"include_usage": True}
        began = time.perf_counter()
        answer = await client.post("/v1/chat/completions", json=body)
        self.seconds += time.perf_counter() - began
        if answer.status_code == 400:
            self.refused += 1
            return
        assert answer.status_code == 200, answer.text
        said = _last(answer.text) if stream else answer.json()
        self.answers += 1
        self.prompt_tokens += said["usage"]["prompt_tokens"]
        self.completion_tokens += said["usage"]["completion_tokens"]
        self.caches[answer.headers["x-agoge-cache"]] += 1
        self.labels[answer.headers["x-agoge-label"]] += 1
        self.blends[answer.headers["x-agoge-blend"]] += 1


def _last(stream: str) -> dict[str, Any]:
    blocks = [line[6:] for line in stream.splitlines() if line.startswith("data: {")]
    said: dict[str, Any] = json.loads(blocks[-1])
    return said


async def load(url: str) -> Load:
    """Ask the same few questions over and over, some of them wrongly, several at once."""
    done = Load()
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        for text in TEXTS:  # each is decided once before anybody can find it in the cache
            for model in MODELS:
                await done.ask(client, text, stream=False, model=model)
        for number in range(ROUNDS):
            text = TEXTS[number % len(TEXTS)]
            await asyncio.gather(
                *(
                    done.ask(client, text, stream=turn % 2 == 0, model=MODELS[turn % 3 == 0])
                    for turn in range(AT_ONCE)
                ),
                done.ask(client, text, stream=False, temperature=100),
            )
    return done


@pytest.fixture(scope="module")
def after(
    binaries: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Prometheus, Load]]:
    """Prometheus, and what the load did that it has scraped to its end."""
    folder = tmp_path_factory.mktemp("prometheus")
    with EngineThread() as engine:
        engine.hold(*MODELS)
        address = f"engine=vllm+{engine.url}?canary=off"
        with (
            serving(own_policy(folder), data, "--backend", address) as live,
            scraping(binaries, folder, live.url) as prometheus,
        ):
            done = asyncio.run(load(live.url))
            prometheus.until("sum(agoge_answers_total)", lambda value: value == done.answers)
            yield prometheus, done


def test_what_was_counted_is_what_the_load_did(after: tuple[Prometheus, Load]) -> None:
    prometheus, done = after
    assert done.answers == len(TEXTS) * len(MODELS) + ROUNDS * AT_ONCE
    assert prometheus.value('up{job="agoge"}') == 1
    assert prometheus.value('sum(agoge_decisions_total{cache="hit"})') == done.caches["hit"] == ROUNDS * AT_ONCE
    assert prometheus.value('sum(agoge_decisions_total{cache="miss"})') == done.caches["miss"]
    for label, count in done.labels.items():
        assert prometheus.value(f'sum(agoge_decisions_total{{label="{label}"}})') == count
    assert len(done.blends) == len(MODELS)
    for blend, count in done.blends.items():
        assert prometheus.value(f'agoge_blend_decisions_total{{blend="{blend}"}}') == count
        assert prometheus.value(f'agoge_answers_total{{blend="{blend}"}}') == count
    assert prometheus.value('agoge_tenant_decisions_total{tenant="default"}') == done.answers
    assert done.prompt_tokens > 0
    assert done.completion_tokens > 0
    assert prometheus.value("sum(agoge_prompt_tokens_total)") == done.prompt_tokens
    assert prometheus.value("sum(agoge_completion_tokens_total)") == done.completion_tokens
    assert done.refused == ROUNDS
    assert prometheus.value('agoge_refused_total{code="invalid_request",status="400"}') == ROUNDS
    assert prometheus.value("sum(agoge_open_streams)") == 0


def test_the_stages_are_those_of_the_load_and_fit_into_its_time(after: tuple[Prometheus, Load]) -> None:
    prometheus, done = after

    def count(stage: str) -> float | None:
        return prometheus.value(f'agoge_stage_seconds_count{{stage="{stage}"}}')

    def spent(stage: str) -> float:
        return prometheus.value(f'agoge_stage_seconds_sum{{stage="{stage}"}}') or 0.0

    assert [count(stage) for stage in ("read", "cache", "plan", "first", "answer")] == [done.answers] * 5
    assert [count(stage) for stage in ("score", "decide")] == [done.caches["miss"]] * 2
    inside = [spent(stage) for stage in ("read", "cache", "score", "decide", "plan", "answer")]
    assert min(inside) > 0
    assert sum(inside) <= done.seconds
    assert spent("first") == pytest.approx(prometheus.value("sum(agoge_ttft_seconds_sum)"), rel=0.2, abs=0.5)
    decided = prometheus.value("sum(agoge_decision_seconds_sum)") or 0.0
    assert spent("read") + spent("cache") + spent("score") + spent("decide") <= decided


def test_prometheus_has_taken_the_shipped_alerts_and_none_fires(after: tuple[Prometheus, Load]) -> None:
    prometheus, _ = after
    (group,) = prometheus.ask("rules")["groups"]
    assert len(group["rules"]) == 11
    assert {rule["health"] for rule in group["rules"]} <= {
        "ok",
        "unknown",
    }  # not looked at before the first interval
    assert prometheus.ask("alerts")["alerts"] == []


def test_prometheus_can_answer_every_question_of_the_dashboard(after: tuple[Prometheus, Load]) -> None:
    prometheus, _ = after
    board = json.loads((ROOT / "deploy/grafana/agoge.json").read_text("utf-8"))
    prometheus.until("sum(rate(agoge_answers_total[1h]))", lambda value: value is not None)  # takes two scrapes
    empty = []
    for panel in board["panels"]:
        for target in panel["targets"]:
            asked = target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1h")
            asked = asked.replace("$__range", "1h")
            assert "$" not in asked
            if not prometheus.ask("query", query=asked)["result"]:
                empty.append(panel["title"])
    assert set(empty) == {  # of what did not happen in this load
        "Failed attempts, clients that left",
        "Cache failures",
        "Blends that act, that are withdrawn",
        "Since the canary's last clean round",
        "Replicas left alone",
        "Verdicts of people",
    }
