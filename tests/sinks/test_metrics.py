"""What the metrics say of the load, and that neither a policy's size nor a stranger lets them grow without end."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from router.core.blend import Blend
from router.core.decision import Decision, Reason, Verdict
from router.core.facts import BackendAnswered, BackendAttemptFailed, Began, Decided, Judged, RequestRefused
from router.core.stages import STAGES
from router.sinks.metrics import MOST_BLENDS, MOST_CODES, MOST_LABELS, MOST_TENANTS, MetricsSink
from router.sinks.names import Names
from tests.stage import Stage, staged
from tests.stubs import SpeakingBackend, until


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Return (sample name, label values in the order of their names) -> value."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def scrape(stage: Stage) -> dict[tuple[str, ...], float]:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        return samples((await client.get("/metrics")).text)


def body(text: str, **more: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}], **more}


def decision(number: int) -> Decision:
    label = f"label{number}"
    return Decision(
        blend=Blend((("core", 1.0),), f"core-{number}"),
        verdicts=(Verdict("core", True, Reason.ALWAYS, 1.0), Verdict("x", False, Reason.NOT_ASKED, 1.0)),
        reason=Reason.OTHERWISE,
        label=label,
        scores={label: 1.0},
        out_of_domain=number % 2 == 0,
        policy="cafe",
        tenant=f"tenant{number}",
    )


def test_the_first_names_stay_and_all_later_ones_are_one() -> None:
    names = Names(2)
    assert [names("a", "1"), names("b", "1"), names("a", "2"), names("b", "1")] == [
        ("a", "1"),
        ("b", "1"),
        ("other", "other"),
        ("b", "1"),
    ]


def test_a_policy_of_5000_blends_and_tenants_makes_a_bounded_number_of_series() -> None:
    sink = MetricsSink()
    for number in range(5000):
        sink.record(Decided("d", decision(number), "miss", 0.001, "r", None, {"read": 0.0002, "score": 0.003}))
        sink.record(Began("d", "first", {"plan": 0.0001, "first": 0.2}))
        sink.record(BackendAnswered("d", "first", f"core-{number}", 0.2, 1.0, 5, 7, "stop"))
        sink.record(BackendAttemptFailed("d", "first", "core-1", f"code{number}", "x", False))
        sink.record(RequestRefused(f"code{number}", 400 + number))
        sink.record(Judged("d", "wrong", f"label{number}", None, "api"))
    counted = samples(sink.exposition().decode())

    def of(name: str) -> dict[tuple[str, ...], float]:
        return {key: value for key, value in counted.items() if key[0] == name}

    for name, most in (
        ("agoge_blend_decisions_total", MOST_BLENDS),
        ("agoge_tenant_decisions_total", MOST_TENANTS),
        ("agoge_decisions_total", MOST_LABELS),
        ("agoge_answers_total", MOST_BLENDS),
        ("agoge_outcomes_total", MOST_LABELS),
        ("agoge_refused_total", MOST_CODES),
        ("agoge_backend_failures_total", MOST_CODES + 1),  # some codes were taken by refusals before
    ):
        assert len(of(name)) <= most + 1, name
        assert sum(of(name).values()) == 5000, name
    assert counted["agoge_blend_decisions_total", "other"] == 5000 - MOST_BLENDS
    assert counted["agoge_blend_decisions_total", "core-3"] == 1
    assert counted["agoge_verdicts_total", "always"] == counted["agoge_verdicts_total", "not_asked"] == 5000
    assert counted[("agoge_abstentions_total",)] == 2500
    assert sum(of("agoge_prompt_tokens_total").values()) == 35000
    assert sum(of("agoge_completion_tokens_total").values()) == 25000
    assert counted["agoge_open_streams", "first"] == 0
    assert counted["agoge_stage_seconds_sum", "score"] == pytest.approx(15.0)
    assert len(counted) < 5000


async def test_every_request_leaves_its_stages_once(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        await client.post("/v1/chat/completions", json=body("sky"))
        await client.post("/v1/chat/completions", json=body("sky", stream=True))
        await client.post("/v1/decisions", json={"input": "marathon"})
        await client.post("/v1/chat/completions", json=body("режим: физика"))  # nothing is scored, no engine asked
        counted = await scrape(stage)
    found = {name: counted["agoge_stage_seconds_count", name] for name in STAGES}
    assert found == {
        "read": 4, "cache": 4, "score": 2, "decide": 3, "plan": 2, "wait": 2, "first": 2, "answer": 2,
    }  # fmt: skip
    for count in ("agoge_ttft_seconds_count", "agoge_answer_seconds_count", "agoge_answers_total"):
        assert sum(value for key, value in counted.items() if key[0] == count) == 2
    assert counted["agoge_decision_seconds_sum", "miss"] >= sum(
        counted["agoge_stage_seconds_sum", name] for name in ("score", "decide")
    )


async def test_open_streams_go_up_and_down_however_they_end(tmp_path: Path) -> None:
    engine = SpeakingBackend(hangs_after=1)
    async with staged(tmp_path, backends={"first": engine, "second": SpeakingBackend()}) as stage:
        async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
            async with client.stream("POST", "/v1/chat/completions", json=body("sky", stream=True)) as answer:
                await anext(answer.aiter_lines())
                assert (await scrape(stage))["agoge_open_streams", "first"] == 1
            await until(lambda: engine.open_streams == 0)  # the client has left
            engine.hangs_after = None
            await client.post("/v1/chat/completions", json=body("sky"))
        counted = await scrape(stage)
        assert counted["agoge_open_streams", "first"] == 0
        assert counted["agoge_abandoned_total", "first"] == 1


async def test_a_client_that_leaves_before_the_first_event_was_never_an_open_stream(tmp_path: Path) -> None:
    engine = SpeakingBackend(hangs_after=0)
    async with staged(tmp_path, backends={"first": engine, "second": SpeakingBackend()}) as stage:
        async with httpx.AsyncClient(base_url=stage.url, timeout=0.5) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post("/v1/chat/completions", json=body("sky", stream=True))
        await until(lambda: engine.open_streams == 0)
        counted = await scrape(stage)
    assert counted["agoge_abandoned_total", "first"] == 1
    assert ("agoge_open_streams", "first") not in counted


async def test_the_process_tells_of_itself(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        counted = await scrape(stage)
    assert counted[("process_resident_memory_bytes",)] > 1e6
    assert counted[("process_open_fds",)] > 1
    assert not [key for key in counted if key[0].endswith("_created")]
