"""What /metrics can expose, read off a sink that was given one fact of every kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from prometheus_client.parser import text_string_to_metric_families

from router.core.blend import Blend
from router.core.decision import Decision, Reason, Verdict
from router.core.facts import (
    Abandoned,
    BackendAnswered,
    BackendAttemptFailed,
    Began,
    CacheFailed,
    CanaryFinished,
    Decided,
    Fact,
    Judged,
    Occupied,
    PolicyReloaded,
    ReplicaEjected,
    RequestRefused,
)
from router.core.stages import STAGES
from router.sinks.metrics import MetricsSink

DECISION = Decision(
    blend=Blend((("core", 1.0),), "core-1"),
    verdicts=(Verdict("core", True, Reason.ALWAYS, 1.0),),
    reason=Reason.OTHERWISE,
    label="physics",
    scores={"physics": 0.9},
    out_of_domain=True,
    policy="cafe",
)
ONE_OF_EACH: tuple[Fact, ...] = (
    Decided("d", DECISION, "miss", 0.001, "r", None, dict.fromkeys(STAGES, 0.001)),
    Began("d", "first", {"plan": 0.001, "first": 0.1}),
    CacheFailed("get", "x"),
    BackendAnswered("d", "first", "core-1", 0.1, 1.0, 5, 7, "stop"),
    BackendAttemptFailed("d", "first", "core-1", "backend_failed", "x", False),
    Abandoned("d", "first", started=False),
    RequestRefused("invalid_request", 400),
    PolicyReloaded("cafe", None),
    ReplicaEjected("first", "first#1", 5.0, "x"),
    CanaryFinished("first", 5),
    Judged("d", "wrong", "physics", None, "api"),
    Occupied("first", 2, 1),
)
assert {type(fact) for fact in ONE_OF_EACH} == set(get_args(Fact))
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


@dataclass(frozen=True)
class Family:
    """One metric as people write it: a counter with its `_total`, a histogram by its base name."""

    name: str
    labels: frozenset[str]
    samples: frozenset[str]


def families() -> dict[str, Family]:
    """Return every metric of ours and of the process."""
    sink = MetricsSink("1.2.3")
    for fact in ONE_OF_EACH:
        sink.record(fact)
    found = {}
    for family in text_string_to_metric_families(sink.exposition().decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = frozenset(label for sample in family.samples for label in sample.labels)
        samples = frozenset(family.name + suffix for suffix in SUFFIXES[family.type])
        found[name] = Family(name, labels - {"le"} if family.type == "histogram" else labels, samples)
    return found
