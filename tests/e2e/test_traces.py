"""A real `agoge serve` and a real collector's protocol: spans arrive, and an ill collector harms no request."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from bench.ports import free_port
from tests.backends.fake_tgi import FakeTgi
from tests.live import ROOT, Agoge, own_policy, serving
from tests.otlp import Collector, collecting

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def ask(live: Agoge, stream: bool) -> httpx.Response:
    body = {"model": "core", "messages": [{"role": "user", "content": "zqxj why"}], "stream": stream}
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    return httpx.post(f"{live.url}/v1/chat/completions", json=body, headers=headers, timeout=60)


async def served(tmp_path: Path, data: Path, *options: str) -> tuple[list[httpx.Response], FakeTgi, float]:
    """Ask an Agoge with these options twice; return its answers, its engine, and how long it took to end."""
    async with FakeTgi(names=["core"]) as engine:
        address = f"engine=tgi+{engine.url}?names=core&canary=off"

        def run() -> tuple[list[httpx.Response], float]:
            with serving(own_policy(tmp_path), data, "--backend", address, *options) as live:
                answers = [ask(live, stream) for stream in (False, True)]
                end = time.monotonic()
            return answers, time.monotonic() - end

        answers, ending = await asyncio.to_thread(run)
        return answers, engine, ending


def check(collector: Collector, answers: list[httpx.Response], engine: FakeTgi, service: str) -> None:
    roots = [span for span in collector.spans if span.name == "POST /v1/chat/completions"]
    assert {span.service for span in collector.spans} == {service}
    assert {span.trace for span in collector.spans} == {TRACE}
    assert [span.parent for span in roots] == [PARENT, PARENT]
    decided = {span.fields["agoge.decision.id"] for span in roots}
    assert decided == {answer.headers["x-agoge-decision-id"] for answer in answers}
    calls = {span.id: span for span in collector.spans if span.name.startswith("chat ")}
    told = {seen.headers["traceparent"] for seen in engine.seen if seen.path == "/v1/chat/completions"}
    assert told == {f"00-{TRACE}-{each}-01" for each in calls}
    assert {span.parent for span in calls.values()} == {span.id for span in roots}
    for span in calls.values():
        assert span.fields["gen_ai.request.model"] == answers[0].headers["x-agoge-blend"]
        assert span.fields["gen_ai.usage.output_tokens"] > 0
        assert span.events == ["first event"]
    assert "zqxj" not in repr(collector.spans)


async def test_spans_arrive_where_the_option_says(tmp_path: Path, data: Path) -> None:
    with collecting() as collector:
        answers, engine, _ = await served(tmp_path, data, "--traces", collector.url)
    assert [answer.status_code for answer in answers] == [200, 200]
    check(collector, answers, engine, "agoge")  # with all that was waiting when it ended


async def test_spans_arrive_where_the_standard_variables_say(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "our-router")
        answers, engine, _ = await served(tmp_path, data)
    check(collector, answers, engine, "our-router")
    assert {headers["authorization"] for headers in collector.headers} == {"Bearer secret"}
    assert {headers["content-type"] for headers in collector.headers} == {"application/x-protobuf"}


@pytest.mark.parametrize("ill", ["absent", "refusing"])
async def test_a_collector_that_takes_nothing_harms_no_request(tmp_path: Path, data: Path, ill: str) -> None:
    with collecting() as collector:
        collector.status = 503
        url = collector.url if ill == "refusing" else f"http://127.0.0.1:{free_port()}"
        answers, _, ending = await served(tmp_path, data, "--traces", url)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert ending < 30  # five seconds for the last spans; a busy machine takes its time


def test_without_traces_the_sdk_is_never_imported() -> None:
    code = (
        "import sys, router.wiring.app, router.cli.serve\n"
        "from router.wiring.settings import Settings\n"
        "from router.wiring.tracing import open_traces\n"
        "for said in ({}, {'OTEL_SDK_DISABLED': 'true', 'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://h'},\n"
        "    {'OTEL_TRACES_EXPORTER': 'none', 'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://h'}):\n"
        "    assert open_traces(Settings(environment=said)) is None\n"
        "assert 'opentelemetry.sdk' not in sys.modules and 'opentelemetry.exporter' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env={**os.environ})
