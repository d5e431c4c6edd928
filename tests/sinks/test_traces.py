"""Traces as a collector would see them: one tree per request, the engine told whose child it is."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv.attributes import error_attributes, http_attributes
from opentelemetry.trace import SpanKind, StatusCode

from router.backends.tgi import TgiBackend
from router.core.errors import BackendBroken, BackendUnreachable
from router.replicas import Replicas
from router.sinks.log import LogSink
from router.sinks.traces import Traces
from tests.backends.fake_tgi import FakeTgi
from tests.stage import Stage, staged
from tests.stubs import SpeakingBackend, until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"  # W3C Trace Context's own example
MARKER = "zqxj"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traces(exporter: InMemorySpanExporter) -> Iterator[Traces]:
    made = Traces(SimpleSpanProcessor(exporter), "1.2.3")
    yield made
    made.close()


async def ask(stage: Stage, text: str, **more: Any) -> httpx.Response:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    body = {"messages": [{"role": "user", "content": text}], **more}
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        return await client.post("/v1/chat/completions", json=body, headers=headers)


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """Return the finished spans by name; each name must stand once."""
    spans = exporter.get_finished_spans()
    assert len({span.name for span in spans}) == len(spans), [span.name for span in spans]
    return {span.name: span for span in spans}


def fields(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def events(span: ReadableSpan) -> list[str]:
    return [event.name for event in span.events]


ROOT = "POST /v1/chat/completions"


@pytest.mark.parametrize("stream", [False, True])
async def test_one_request_is_one_tree_under_its_caller(
    tmp_path: Path, traces: Traces, exporter: InMemorySpanExporter, stream: bool
) -> None:
    async with staged(tmp_path, traces=traces) as stage:
        answer = await ask(stage, "sky", stream=stream)
        await until(lambda: ROOT in {span.name for span in exporter.get_finished_spans()})
    spans = by_name(exporter)
    blend = answer.headers["x-agoge-blend"]
    call = spans[f"chat {blend}"]
    root = spans[ROOT]
    assert set(spans) == {ROOT, "read", "cache", "score", "decide", "plan", "wait", f"chat {blend}"}
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE}
    assert f"{parent(root):016x}" == PARENT
    assert {parent(span) for span in spans.values() if span is not root} == {root.context.span_id}
    assert root.kind is SpanKind.SERVER
    assert call.kind is SpanKind.CLIENT

    told = fields(root)
    assert told[http_attributes.HTTP_REQUEST_METHOD] == "POST"
    assert told[http_attributes.HTTP_ROUTE] == "/v1/chat/completions"
    assert told[http_attributes.HTTP_RESPONSE_STATUS_CODE] == 200
    assert told["agoge.decision.id"] == answer.headers["x-agoge-decision-id"]
    assert (told["agoge.label"], told["agoge.blend"], told["agoge.cache"]) == ("physics", blend, "miss")
    assert told["agoge.adapters"] == ("core", "physics")
    assert told["agoge.policy"] == stage.router.state.policies.profile("default", None).revision
    assert "sport below_gate" in told["agoge.verdicts"]

    asked = fields(call)
    assert asked[gen_ai.GEN_AI_OPERATION_NAME] == "chat"
    assert asked[gen_ai.GEN_AI_REQUEST_MODEL] == blend
    assert asked[gen_ai.GEN_AI_PROVIDER_NAME] == asked["agoge.backend"] == "first"
    assert asked[gen_ai.GEN_AI_USAGE_INPUT_TOKENS] == 7
    assert asked[gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS] == 3
    assert asked[gen_ai.GEN_AI_RESPONSE_FINISH_REASONS] == ("stop",)
    assert events(call) == ["first event"]
    assert call.end_time is not None
    assert root.end_time is not None
    assert call.end_time <= root.end_time
    assert root.resource.attributes["service.name"] == "agoge"
    assert root.resource.attributes["service.version"] == "1.2.3"


async def test_a_known_decision_is_neither_scored_nor_decided(
    tmp_path: Path, traces: Traces, exporter: InMemorySpanExporter
) -> None:
    async with staged(tmp_path, traces=traces) as stage:
        await ask(stage, "sky")
        await until(lambda: ROOT in {span.name for span in exporter.get_finished_spans()})
        exporter.clear()
        await ask(stage, "sky")
        await until(lambda: ROOT in {span.name for span in exporter.get_finished_spans()})
    spans = by_name(exporter)
    assert not {"score", "decide"} & set(spans)
    assert fields(spans[ROOT])["agoge.cache"] == "hit"


async def test_a_failover_is_two_attempts(tmp_path: Path, traces: Traces, exporter: InMemorySpanExporter) -> None:
    ill = SpeakingBackend(fails=BackendUnreachable(f"said {MARKER}"))
    async with staged(tmp_path, traces=traces, backends={"first": ill, "second": SpeakingBackend()}) as stage:
        answer = await ask(stage, "sky")
        await until(lambda: ROOT in {span.name for span in exporter.get_finished_spans()})
    attempts = [span for span in exporter.get_finished_spans() if span.kind is SpanKind.CLIENT]
    failed, answered = sorted(attempts, key=lambda span: span.start_time or 0)
    assert answer.headers["x-agoge-backend"] == "second"
    assert failed.name == answered.name
    assert (fields(failed)["agoge.backend"], fields(answered)["agoge.backend"]) == ("first", "second")
    assert failed.status.status_code is StatusCode.ERROR
    assert fields(failed)[error_attributes.ERROR_TYPE] == "backend_unreachable"
    assert answered.status.status_code is StatusCode.UNSET
    assert parent(failed) == parent(answered)
    assert (failed.end_time or 0) <= (answered.start_time or 0)
    root = next(span for span in exporter.get_finished_spans() if span.name == ROOT)
    assert "attempt failed" in events(root)
    assert root.status.status_code is StatusCode.UNSET


async def test_a_replica_that_fails_is_an_attempt_inside_of_the_backends(
    tmp_path: Path, traces: Traces, exporter: InMemorySpanExporter
) -> None:
    ill, well = SpeakingBackend(fails=BackendBroken("x")), SpeakingBackend()
    several: Any = Replicas("first", {"h1": ill, "h2": well})
    async with staged(tmp_path, traces=traces, backends={"first": several, "second": SpeakingBackend()}) as stage:
        for number in range(8):  # some of these blends are h1's first
            await ask(stage, f"sky {number}", model=("core", "physics", "sport", "core+physics")[number % 4])
        await until(lambda: sum(s.name == ROOT for s in exporter.get_finished_spans()) == 8)
    spans = exporter.get_finished_spans()
    replicas = [span for span in spans if span.name == "replica"]
    backends = {span.context.span_id for span in spans if span.name.startswith("chat ")}
    assert {parent(span) for span in replicas} <= backends
    assert len(backends) == 8
    failed = [span for span in replicas if span.status.status_code is StatusCode.ERROR]
    assert failed
    assert {fields(span)["agoge.replica"] for span in failed} == {"h1"}
    assert sum("first event" in events(span) for span in replicas) == 8


async def test_a_stream_that_breaks_off_and_a_client_that_leaves_are_told(
    tmp_path: Path, traces: Traces, exporter: InMemorySpanExporter
) -> None:
    engine = SpeakingBackend(fails=BackendBroken(f"broke at {MARKER}"), fails_after=1)
    async with staged(tmp_path, traces=traces, backends={"first": engine, "second": SpeakingBackend()}) as stage:
        await ask(stage, "sky", stream=True)
        await until(lambda: ROOT in {span.name for span in exporter.get_finished_spans()})
        spans = by_name(exporter)
        call = next(span for name, span in spans.items() if name.startswith("chat "))
        assert call.status.status_code is StatusCode.ERROR
        assert fields(call)["error.type"] == "backend_failed"
        assert spans[ROOT].status.status_code is StatusCode.ERROR  # although its status was 200 already
        assert fields(spans[ROOT])["error.type"] == "backend_failed"
        exporter.clear()
        engine.fails, engine.hangs_after = None, 1
        async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
            body = {"messages": [{"role": "user", "content": "sky"}], "stream": True}
            async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                await anext(answer.aiter_lines())
        await until(lambda: ROOT in {span.name for span in exporter.get_finished_spans()})
    call = next(span for span in exporter.get_finished_spans() if span.name.startswith("chat "))
    assert events(call) == ["first event", "client gone"]


async def test_concurrent_requests_do_not_mix(
    tmp_path: Path, traces: Traces, exporter: InMemorySpanExporter
) -> None:
    async with staged(tmp_path, traces=traces) as stage, httpx.AsyncClient(base_url=stage.url) as client:

        async def one(number: int) -> tuple[str, httpx.Response]:
            trace = f"{number + 1:032x}"
            text = f"{('sky', 'marathon')[number % 2]} {number}"
            body = {"messages": [{"role": "user", "content": text}], "stream": number % 3 == 0}
            headers = {"traceparent": f"00-{trace}-{PARENT}-01", "x-request-id": f"r{number}"}
            return trace, await client.post("/v1/chat/completions", json=body, headers=headers)

        answers = dict(await asyncio.gather(*(one(number) for number in range(20))))
        await until(lambda: sum(s.name == ROOT for s in exporter.get_finished_spans()) == 20)
    spans = exporter.get_finished_spans()
    for trace, answer in answers.items():
        ours = [span for span in spans if f"{span.context.trace_id:032x}" == trace]
        (root,) = (span for span in ours if span.name == ROOT)
        assert fields(root)["agoge.decision.id"] == answer.headers["x-agoge-decision-id"]
        assert fields(root)["agoge.request.id"] == answer.headers["x-request-id"]
        assert sorted(span.name for span in ours) == sorted(
            [ROOT, "read", "cache", "score", "decide", "plan", "wait", f"chat {answer.headers['x-agoge-blend']}"]
        )
        assert {parent(span) for span in ours if span is not root} == {root.context.span_id}


async def test_each_entry_of_a_batch_is_a_span_of_its_own(
    tmp_path: Path, traces: Traces, exporter: InMemorySpanExporter
) -> None:
    async with staged(tmp_path, traces=traces) as stage, httpx.AsyncClient(base_url=stage.url) as client:
        batch = [{"input": "sky"}, {"input": f"режим: {MARKER}"}, {"input": "marathon"}]
        answer = await client.post("/v1/decisions", json={"batch": batch})
        await until(lambda: "POST /v1/decisions" in {span.name for span in exporter.get_finished_spans()})
    root = next(span for span in exporter.get_finished_spans() if span.name == "POST /v1/decisions")
    entries = [span for span in exporter.get_finished_spans() if span.name == "entry"]
    assert {parent(span) for span in entries} == {root.context.span_id}
    first, refused, last = answer.json()["data"]
    told = {fields(span).get("agoge.decision.id"): span for span in entries}
    assert set(told) == {first["decision_id"], last["decision_id"], None}
    assert fields(told[None])["error.type"] == refused["error"]["code"]
    assert "error.type" not in fields(root)
    scored = [span for span in exporter.get_finished_spans() if span.name == "score"]
    assert {parent(span) for span in scored} == {
        told[first["decision_id"]].context.span_id,
        told[last["decision_id"]].context.span_id,
    }


async def test_the_engine_is_told_whose_child_it_is(
    tmp_path: Path, traces: Traces, exporter: InMemorySpanExporter
) -> None:
    async with FakeTgi(names=["core"]) as engine:
        backends: Any = {"first": TgiBackend("first", engine.url, ["core"]), "second": SpeakingBackend()}
        async with staged(tmp_path, traces=traces, backends=backends) as stage:
            answer = await ask(stage, "hello")
            await until(lambda: ROOT in {span.name for span in exporter.get_finished_spans()})
    assert answer.headers["x-agoge-backend"] == "first"
    (seen,) = (seen for seen in engine.seen if seen.path == "/v1/chat/completions")
    call = next(span for span in exporter.get_finished_spans() if span.name.startswith("chat "))
    assert seen.headers["traceparent"] == f"00-{TRACE}-{call.context.span_id:016x}-01"
    assert seen.headers["x-request-id"] == answer.headers["x-agoge-decision-id"]


async def test_an_untraced_request_tells_the_engine_nothing(tmp_path: Path) -> None:
    async with FakeTgi(names=["core"]) as engine:
        backends: Any = {"first": TgiBackend("first", engine.url, ["core"]), "second": SpeakingBackend()}
        async with staged(tmp_path, backends=backends) as stage:
            await ask(stage, "hello")
    (seen,) = (seen for seen in engine.seen if seen.path == "/v1/chat/completions")
    assert "traceparent" not in seen.headers


async def test_refusals_and_strange_headers(
    tmp_path: Path, traces: Traces, exporter: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    async with staged(tmp_path, traces=traces) as stage, httpx.AsyncClient(base_url=stage.url) as client:
        for given in ("", "00-zz", f"00-{'0' * 32}-{PARENT}-01", "x" * 5000, f"ff-{TRACE}-{PARENT}-01-more"):
            await client.post("/v1/chat/completions", json={}, headers={"traceparent": given, "tracestate": given})
        await client.request("PROPFIND", f"/{MARKER}", headers={"tracestate": f"{MARKER}=1"})
        for quiet in ("/healthz", "/readyz", "/metrics"):
            await client.get(quiet)
        await until(lambda: len(exporter.get_finished_spans()) == 6)
    *refused, strange = exporter.get_finished_spans()
    assert {fields(span)[http_attributes.HTTP_RESPONSE_STATUS_CODE] for span in refused} == {400}
    assert {fields(span)["error.type"] for span in refused} == {"invalid_request"}
    assert {span.status.status_code for span in refused} == {StatusCode.UNSET}  # the caller's mistake
    assert len({span.context.trace_id for span in refused}) == 5
    assert (strange.name, fields(strange)[http_attributes.HTTP_REQUEST_METHOD]) == ("_OTHER", "_OTHER")
    assert http_attributes.HTTP_ROUTE not in fields(strange)
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]  # nor is it logged


async def test_no_prompt_text_is_in_a_span(tmp_path: Path, traces: Traces, exporter: InMemorySpanExporter) -> None:
    ill = SpeakingBackend(fails=BackendUnreachable(MARKER))
    for backends in ({"first": ill, "second": SpeakingBackend()}, {"first": ill, "second": ill}):
        async with staged(tmp_path, traces=traces, backends=backends) as stage:
            await ask(stage, f"sky {MARKER}", user=MARKER, metadata={MARKER: MARKER})
            await ask(stage, f"режим: физика\n{MARKER}", stream=True)
            await ask(stage, "hello", model=MARKER)
            await ask(stage, f"режим: {MARKER}")
            await until(lambda: sum(s.name == ROOT for s in exporter.get_finished_spans()) >= 4)
    spans = exporter.get_finished_spans()
    assert len(spans) > 20
    assert MARKER not in "".join(span.to_json() for span in spans)


async def test_the_log_names_the_trace_and_the_stages(tmp_path: Path, traces: Traces) -> None:
    log = io.StringIO()
    async with staged(tmp_path, traces=traces) as stage:
        stage.router._sinks = (*stage.router._sinks, LogSink(log))
        stage.router.state.fleet.record = stage.router.record
        await ask(stage, "sky")
    lines: Sequence[dict[str, Any]] = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["fact"], line["trace_id"]) for line in lines] == [
        ("Decided", TRACE),
        ("BackendAnswered", TRACE),
    ]
    assert set(lines[0]["stages_ms"]) == {"read", "cache", "score", "decide"}
    assert sum(lines[0]["stages_ms"].values()) <= lines[0]["ms"] + 0.01  # each is rounded
