"""docs/observability.md names every metric with its labels, every stage, every field of the log, and no other."""

from __future__ import annotations

import io
import json
import re

import yaml

from router.core.facts import Began
from router.core.stages import STAGES
from router.sinks import metrics
from router.sinks.log import LogSink
from tests.live import ROOT
from tests.sinks.exposed import ONE_OF_EACH, families

PAGE = (ROOT / "docs" / "observability.md").read_text("utf-8")
RULES = yaml.safe_load((ROOT / "deploy/prometheus/agoge.rules.yml").read_text("utf-8"))["groups"][0]["rules"]


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under the row `heading`."""
    lines = PAGE[PAGE.index(heading) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_metric_with_its_labels() -> None:
    told = {name.strip("`"): set(filter(None, labels.split(", "))) for name, labels, _ in rows("| metric |")}
    ours = {name: set(family.labels) for name, family in families().items() if name.startswith("agoge_")}
    assert told == ours


def test_every_stage_in_its_order() -> None:
    assert tuple(name.strip("`") for name, _ in rows("| stage | from")) == STAGES


def test_every_alert() -> None:
    assert [name.strip("`") for name, _ in rows("| alert |")] == [rule["alert"] for rule in RULES]


def test_every_fact_with_its_fields() -> None:
    told = {name.strip("`"): set(re.findall(r"`([a-z_]+)`", cells)) for name, cells in rows("| fact |")}
    log = io.StringIO()
    sink = LogSink(log, engine_messages=True)
    for fact in ONE_OF_EACH:
        sink.record(fact)
    lines = {line.pop("fact"): set(line) - {"time"} for line in map(json.loads, log.getvalue().splitlines())}
    assert {name: fields - {"message"} for name, fields in lines.items()} == {
        name: fields - {"message"} for name, fields in told.items()
    }
    assert Began.__name__ not in lines  # it lives in the gauge of open streams alone


def test_the_limits_of_names() -> None:
    said = re.search(r"the first (\d+) blends, (\d+) tenants, (\d+) labels and (\d+) error codes", PAGE)
    assert said is not None
    limits = (metrics.MOST_BLENDS, metrics.MOST_TENANTS, metrics.MOST_LABELS, metrics.MOST_CODES)
    assert tuple(map(int, said.groups())) == limits
