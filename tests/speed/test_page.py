"""The page of figures that were worked by hand: what is missing says so, a target is hit or missed by so much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.speed import page
from bench.speed.growth import cliffs
from bench.speed.rate import ratios
from bench.speed.targets import outcomes

MACHINE = {"system": "S", "processor": "P", "cores": 2, "load_before": 0.1}


def spread(value: float) -> dict[str, Any]:
    return {"median": value, "least": value / 2, "most": value * 2, "rounds": 3}


def system(per_second: float, cpu: float) -> dict[str, Any]:
    keys = {"per_second": per_second, "cpu_ms": cpu, "busy": 1, "load_busy": 0.1, "p50_ms": 1, "p99_ms": 2}
    return {key: spread(value) for key, value in keys.items()}


RATE = {
    "connections": 16,
    "systems": {"Agoge, cached": system(1000, 1), "LiteLLM, plain": system(80, 12)},
    "decisions": {"semantic-router": {"cpu_ms": spread(6), "p50_ms": spread(7)}},
    "memory": {"Agoge": {"rss_mb": 330, "ready_seconds": 2}},
    "machine": MACHINE,
}


def test_a_page_of_nothing_says_how_to_measure_everything() -> None:
    text = page.render(dict.fromkeys(page.PARTS))
    for command in ("bench.speed.latency", "bench.speed.rate", "bench.speed.floor", "bench.speed.growth"):
        assert f"*not measured yet*: `python -m {command}`" in text
    assert "hit" not in text.replace("hits", "").split("## What it adds")[0]


def test_targets_are_hit_or_missed_by_so_much() -> None:
    found = {one.target.what: one for one in outcomes({**dict.fromkeys(page.PARTS), "rate": RATE})}
    beside = found["requests per second of a core's time, cached, over LiteLLM's"]
    assert (beside.measured, beside.kept, beside.verdict) == (12.0, True, "hit, by 20 %")
    memory = found["resident memory of the serving process"]
    assert (memory.measured, memory.kept, memory.verdict) == (330, False, "**missed**, by 10 %")
    assert found["added latency, cached, p50"].verdict == "not measured"


def test_a_slow_hour_stands_beside() -> None:
    def measured(milliseconds: float) -> Any:
        rate = RATE | {"decisions": {page.ENCODER: {"cpu_ms": spread(milliseconds), "p50_ms": spread(1)}}}
        added = {"cached": spread(milliseconds), "uncached 12": spread(2), "uncached 60": spread(9)}
        latency = {"added": added, "added_first": added, "whole": {}, "machine": MACHINE}
        return {**dict.fromkeys(page.PARTS), "rate": rate, "latency": latency}

    text = page.render(measured(0.5), measured(1.25))
    assert (
        "| added latency, cached, p50 | at most 1 ms | 0.5 ms | hit, by 50 % | 1.25 ms | **missed**, by 25 % |"
        in text
    )
    assert "the encoder alone took 1.25 ms of CPU instead of 0.50, a cached request took" in text
    assert "slow hour" not in page.render(measured(0.5)).split("## Where the time goes")[0]


def test_a_worker_measured_by_itself_counts_before_one_seen_in_passing() -> None:
    memory = {"workers": {"1": {"rss_mb_of_a_worker": 270.0, "ready_seconds": 4.5}}, "load_average": 0.1}
    found = {one.target.what: one.measured for one in outcomes({"rate": RATE, "memory": memory})}
    assert (found["resident memory of the serving process"], found["ready after"]) == (270.0, 4.5)


def test_ratios_are_of_requests_and_of_cpu() -> None:
    assert ratios(RATE) == {"Agoge, cached / LiteLLM, plain": {"per_second": 12.5, "cpu": 12.0}}


def test_a_cliff_is_what_grows_faster_than_its_size() -> None:
    rows = [
        {"streams": 10, "direct": {"first_p50_ms": 1.0}, "router": {"first_p50_ms": 4.0, "first_p99_ms": 5.0}},
        {"streams": 20, "direct": {"first_p50_ms": 90.0}, "router": {"first_p50_ms": 9.0, "first_p99_ms": 500.0}},
        {"streams": 40, "direct": {"first_p50_ms": 90.0}, "router": {"first_p50_ms": 90.0, "first_p99_ms": 500.0}},
    ]
    assert cliffs(rows) == ["router first_p50_ms: 9 to 90 where streams went from 20 to 40"]


def test_the_page_is_written_with_its_picture(tmp_path: Path) -> None:
    figures = tmp_path / "figures"
    figures.mkdir()
    rows = [
        {
            "characters": size,
            "direct_ms": 0.1,
            **{kind: {"p50_ms": 2.0 * size, "p95_ms": 3.0, "cpu_ms": 1.0} for kind in ("words", "one word")},
        }
        for size in (10, 1000)
    ]
    (figures / "growth.json").write_text(json.dumps({"prompt": rows, "machine": MACHINE}), "utf-8")
    out = tmp_path / "performance.md"
    assert page.main(["--figures", str(figures), "--page", str(out)]) == 0
    text = out.read_text("utf-8")
    assert "| 1,000 | 0.1 | 2,000 |" in text
    assert "p95" not in text.split("### Prompt")[1]
    assert (tmp_path / "performance" / "growth.png").read_bytes().startswith(b"\x89PNG")
