"""What the shipped alerts and the dashboard ask for exists; make test-prometheus asks a real Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.live import ROOT
from tests.sinks.exposed import families

RULES = yaml.safe_load((ROOT / "deploy/prometheus/agoge.rules.yml").read_text("utf-8"))["groups"][0]["rules"]
CASES = yaml.safe_load((ROOT / "deploy/prometheus/agoge.rules.test.yml").read_text("utf-8"))["tests"]
BOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/agoge.json").read_text("utf-8"))
FROM_PROMETHEUS = {"instance", "job"}  # labels that it adds to everything it scrapes
METRIC = re.compile(r"\b(?:agoge|process|python)_[a-z_]+")
SELECTED = re.compile(r"\b((?:agoge|process|python)_[a-z_]+)\{([^}]*)\}")
GROUPED = re.compile(r"\bby \(([^)]*)\)")


def expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]


@pytest.mark.parametrize(("where", "asked"), list(expressions()))
def test_every_metric_and_label_that_is_asked_for_exists(where: str, asked: str) -> None:
    samples = {sample: family for family in families().values() for sample in family.samples}
    named = set(METRIC.findall(asked))
    assert named <= set(samples) | {"up"}, where
    known = {name: samples[name].labels | FROM_PROMETHEUS | {"le"} for name in named}
    for name, selector in SELECTED.findall(asked):
        assert set(re.findall(r"(\w+)\s*[=!]", selector)) <= known[name], where
    grouped = {label.strip() for group in GROUPED.findall(asked) for label in group.split(",")}
    assert grouped <= set().union(*known.values()) | FROM_PROMETHEUS, where


def test_every_alert_is_tested_to_fire_and_to_be_silent() -> None:
    alerts = {rule["alert"] for rule in RULES}
    ill, well, _ = (test["alert_rule_test"] for test in CASES)
    assert {case["alertname"] for case in ill if case["exp_alerts"]} == alerts
    assert {case["alertname"] for case in well if not case.get("exp_alerts")} == alerts
    assert {rule["labels"]["severity"] for rule in RULES} == {"page", "ticket"}


def test_the_dashboards_panels_do_not_overlap() -> None:
    taken = [
        (x, y)
        for panel in BOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24  # Grafana's grid
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
