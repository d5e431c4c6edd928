"""Metrics that Prometheus can read and that stay bounded; log lines that are JSON; prompt text in neither."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import string
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from router.caches.memory import MemoryCache
from router.core.errors import BackendBroken, BackendUnreachable
from router.core.facts import (
    BackendAttemptFailed,
    CacheFailed,
    CanaryFinished,
    Judged,
    PolicyReloaded,
    ReplicaEjected,
    RequestRefused,
)
from router.core.reply import Finish
from router.sinks.log import JsonLines, LogSink
from router.sinks.metrics import CONTENT_TYPE, MetricsSink
from tests.stage import Stage, staged
from tests.stubs import SpeakingBackend


def series(text: str) -> dict[str, set[tuple[tuple[str, str], ...]]]:
    """Return metric family -> the sets of labels it has."""
    return {
        family.name: {tuple(sorted(sample.labels.items())) for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


async def metrics(stage: Stage, client: httpx.AsyncClient) -> str:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"] == CONTENT_TYPE
    return answer.text


async def test_no_request_can_add_to_the_labels(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, httpx.AsyncClient(base_url=stage.url, timeout=20) as client:

        async def ask(number: int) -> None:
            body: dict[str, Any] = {
                "messages": [{"role": "user", "content": f"sky {number}"}],
                "user": f"u{number}",
            }
            headers = {
                "x-request-id": f"r{number}",
                "user-agent": f"a{number}",
                "openai-organization": f"o{number}",
            }
            await client.post("/v1/chat/completions", json=body, headers=headers)
            await client.post("/v1/chat/completions", json=body | {"model": f"m{number}"}, headers=headers)
            await client.post("/v1/chat/completions", json=body | {"temperature": 100 + number}, headers=headers)
            await client.post("/v1/decisions", json={"input": f"режим: к{number}ы"}, headers=headers)
            await client.get(f"/path{number}")
            await client.request(f"METHOD{number}", "/healthz")

        await ask(0)
        before = series(await metrics(stage, client))
        for number in range(1, 170):  # a thousand requests
            await ask(number)
        assert series(await metrics(stage, client)) == before
        assert before["agoge_decisions"]  # the counts are there at all
        assert {dict(labels)["code"] for labels in before["agoge_refused"]} >= {
            "model_not_found",
            "invalid_request",
        }


def test_every_fact_has_its_figure() -> None:
    sink = MetricsSink()
    for fact in (
        CacheFailed("get", "x"),
        BackendAttemptFailed("d", "first", "core-1", "backend_failed", "x", True),
        RequestRefused("invalid_request", 400),
        PolicyReloaded("0123", None),
        PolicyReloaded("0123", "bad"),
        ReplicaEjected("first", "h1:80", 5.0, "crashed"),
        ReplicaEjected("first", "h2:80", 5.0, "crashed"),
        ReplicaEjected("first", "h2:80", 0.0, ""),
        CanaryFinished("first", 5, {}, 12.0, 57),
        CanaryFinished("second", 4, {"core-1": "acts like the base"}, 3.0, 20),
        CanaryFinished("third", 0, {}, 1.0, 2, "the engine does not answer"),
        Judged("d", "wrong", "physics", "sport", "slack"),
        Judged("d", "right", None, None, "api"),
    ):
        sink.record(fact)
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(sink.exposition().decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
    assert samples["agoge_cache_failures_total", "get"] == 1
    assert samples["agoge_backend_failures_total", "backend_failed", "first", "true"] == 1
    assert samples["agoge_refused_total", "400", "invalid_request"] == 1
    assert samples["agoge_policy_reloads_total", "loaded"] == 1
    assert samples["agoge_policy_reloads_total", "refused"] == 1
    assert samples[("agoge_policy_stale",)] == 1
    assert samples["agoge_policy_info", "0123"] == 1
    assert samples["agoge_replica_ejected", "first", "h1:80"] == 1
    assert samples["agoge_outcomes_total", "physics", "slack", "wrong"] == 1
    assert samples["agoge_outcomes_total", "", "api", "right"] == 1
    assert samples["agoge_replica_ejected", "first", "h2:80"] == 0
    assert samples["agoge_canary_withdrawn", "first"] == 0
    assert samples["agoge_canary_withdrawn", "second"] == 1
    assert samples["agoge_canary_proven", "second"] == 4
    assert samples["agoge_canary_duration_seconds", "first"] == 12
    assert abs(samples["agoge_canary_last_success_timestamp_seconds", "first"] - time.time()) < 60
    assert ("agoge_canary_last_success_timestamp_seconds", "second") not in samples
    for backend, outcome in (("first", "passed"), ("second", "failed"), ("third", "unfinished")):
        assert samples["agoge_canary_rounds_total", *sorted((backend, outcome))] == 1


class Remembering(MemoryCache):
    """A cache that remembers everything it was ever given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[bytes] = []

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self.given += keys
        return await super().get_many(keys)

    async def put(self, key: bytes, value: bytes) -> None:
        self.given += [key, value]
        await super().put(key, value)


class Quoting(SpeakingBackend):
    """Fails as engines and drivers fail: with the prompt in their message."""

    async def stream(self, prompt):  # type: ignore[no-untyped-def]
        said = prompt.messages[-1].text
        if "unreachable" in said:
            raise BackendUnreachable(f"cannot send {said}")
        if "mistake" in said:
            raise ValueError(f"cannot parse {said}")
        yield Finish("stop")
        if "late" in said:
            raise BackendBroken(f"broke at {said}")


MARKER = "zqxj"


async def test_prompt_text_is_in_no_log_no_metric_and_no_cache(tmp_path: Path) -> None:
    engine, cache, log = Quoting(), Remembering(), io.StringIO()
    async with staged(tmp_path, backends={"first": engine, "second": engine}, cache=cache) as stage:
        stage.router._sinks = (*stage.router._sinks, LogSink(log))
        stage.router.state.fleet.record = stage.router.record
        handler = logging.StreamHandler(log)
        handler.setFormatter(JsonLines())
        logging.getLogger().addHandler(handler)
        loop = asyncio.get_running_loop()
        async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
            around = st.text(string.printable + "абв\u2028😀", max_size=15)
            special = st.sampled_from(
                ["", "unreachable ", "mistake ", "late ", "режим: алхимия\n", "режим: физика\n"]
            )

            @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
            @given(
                special, around, around, st.sampled_from(["/v1/chat/completions", "/v1/decisions"]), st.booleans()
            )
            def say(kind: str, before: str, after: str, path: str, stream: bool) -> None:
                text = f"{kind}{before}{MARKER}{after}"
                messages = [{"role": "user", "content": text}]
                body = {"messages": messages, "stream": stream, "user": MARKER, "metadata": {MARKER: MARKER}}
                asyncio.run_coroutine_threadsafe(client.post(path, json=body), loop).result(60)

            try:
                await asyncio.to_thread(say)
                bad = {"model": MARKER, "messages": [{"role": "user", "content": MARKER}]}
                await client.post("/v1/chat/completions", json=bad)
                await client.post("/v1/chat/completions", content=b'{"' + MARKER.encode())
                await client.get(f"/{MARKER}")
                exposed = await metrics(stage, client)
            finally:
                logging.getLogger().removeHandler(handler)
    assert MARKER not in log.getvalue()
    assert MARKER not in exposed
    assert len(cache.given) > 60
    assert MARKER.encode() not in b"".join(cache.given)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert {"Decided", "RequestRefused", "BackendAttemptFailed"} <= {line.get("fact") for line in lines}


def test_what_engines_say_is_logged_only_when_that_is_switched_on() -> None:
    fact = BackendAttemptFailed("d", "first", "core-1", "backend_failed", "said the prompt\nback", False)
    for engine_messages in (False, True):
        log = io.StringIO()
        LogSink(log, engine_messages=engine_messages).record(fact)
        (line,) = log.getvalue().splitlines()
        assert ("said the prompt" in line) is engine_messages
        assert json.loads(line)["code"] == "backend_failed"


def test_a_log_that_nobody_reads_refuses_no_request() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    LogSink(Gone()).record(RequestRefused("x", 400))
    closed = io.StringIO()
    closed.close()
    LogSink(closed).record(RequestRefused("x", 400))


def test_what_libraries_log_is_one_line_without_the_exceptions_text() -> None:
    try:
        raise ValueError("quotes the prompt")
    except ValueError:
        record = logging.LogRecord(
            "uvicorn.error", logging.ERROR, "f", 1, "Exception in %s\n", ("ASGI",), sys.exc_info()
        )
    line = JsonLines().format(record)
    told = json.loads(line)
    assert "\n" not in line
    assert (told["log"], told["level"], told["message"]) == ("uvicorn.error", "ERROR", "Exception in ASGI")
    assert told["exception"] == "ValueError"
    assert told["at"][-1].startswith("test_sinks.py:")
    assert "quotes" not in line
