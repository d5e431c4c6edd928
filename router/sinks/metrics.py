"""Facts -> Prometheus. The only module that imports prometheus_client. docs/observability.md lists them all.

Every name is a policy's, a classifier's or our own, none is a request's; those that a policy may have thousands of
are bounded (`Names`), and counters of different names stand apart instead of multiplying.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

from router.core.decision import Reason
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
from router.core.stages import STAGES, Stage
from router.sinks.names import Names

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_BLENDS, MOST_TENANTS, MOST_LABELS, MOST_CODES = 500, 500, 200, 100
_STAGE_SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
_DECISION_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_ANSWER_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

M = TypeVar("M", Counter, Gauge, Histogram)


class MetricsSink:
    """Counts in its own registry, so that two routers in one process (tests) do not collide."""

    def __init__(self, version: str = "", worker: int | None = None) -> None:
        """`worker`: which of several workers this is. They write into the files of PROMETHEUS_MULTIPROC_DIR, under
        their numbers, so that one who is started again counts on; each of them tells the metrics of all.
        """
        # One more series for each of ours, and nobody asks for it.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self._registry = CollectorRegistry()
        self._shared = worker is not None
        self._revision: str | None = None
        if worker is None:
            prometheus_client.ProcessCollector(registry=registry)
            prometheus_client.GCCollector(registry=registry)
        else:
            _share(worker)
            self._registry = CollectorRegistry()
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
        counter = partial(Counter, registry=registry)
        # What is told of a gauge where several processes have one.
        added, highest, lowest = (
            partial(Gauge, registry=registry, multiprocess_mode=mode) for mode in ("sum", "max", "min")
        )

        def seconds(name: str, about: str, label: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(name, about, [label], buckets=buckets, registry=registry)

        self._blend, self._tenant = Names(MOST_BLENDS), Names(MOST_TENANTS)
        self._label, self._code = Names(MOST_LABELS), Names(MOST_CODES)

        self._decisions = _children(counter("agoge_decisions", "Decisions taken.", ["label", "reason", "cache"]))
        self._by_blend = _children(counter("agoge_blend_decisions", "Decisions for this blend.", ["blend"]))
        self._by_tenant = _children(counter("agoge_tenant_decisions", "Decisions for this tenant.", ["tenant"]))
        verdicts = counter("agoge_verdicts", "Verdicts on single adapters.", ["reason"])
        self._verdict = {reason: verdicts.labels(reason).inc for reason in Reason}
        self._abstentions = counter(
            "agoge_abstentions", "Decisions on a text that is unlike everything the classifier was taught."
        )
        self._decision_seconds = _children(
            seconds("agoge_decision_seconds", "Parsed request to decision.", "cache", _DECISION_SECONDS)
        )
        stage_seconds = seconds("agoge_stage_seconds", "What requests spend time on.", "stage", _STAGE_SECONDS)
        self._stage = {stage: stage_seconds.labels(stage).observe for stage in STAGES}
        self._cache_failures = counter(
            "agoge_cache_failures", "Cache calls that failed or were too slow; each was a miss.", ["operation"]
        )
        self._open = _children(added("agoge_open_streams", "Answers that have begun and not ended.", ["backend"]))
        self._answers = _children(counter("agoge_answers", "Streams that ended well.", ["backend", "blend"]))
        self._ttft = _children(
            seconds("agoge_ttft_seconds", "Dispatch to first event (TTFT).", "backend", _ANSWER_SECONDS)
        )
        self._answer_seconds = _children(
            seconds("agoge_answer_seconds", "Dispatch to last event.", "backend", _ANSWER_SECONDS)
        )
        self._prompt_tokens = _children(
            counter("agoge_prompt_tokens", "Tokens of prompts, as the engines count them.", ["backend", "blend"])
        )
        self._tokens = _children(
            counter(
                "agoge_completion_tokens", "Tokens of answers, as the engines count them.", ["backend", "blend"]
            )
        )
        self._failures = counter("agoge_backend_failures", "Attempts that failed.", ["backend", "code", "started"])
        self._abandoned = counter("agoge_abandoned", "Clients that went away.", ["backend"])
        self._refused = counter("agoge_refused", "Requests that got an error.", ["code", "status"])
        self._in_use = _children(added("agoge_slots_in_use", "Answers that a backend gives now.", ["backend"]))
        self._waiting = _children(
            added("agoge_queue_depth", "Requests that wait for a place at a backend.", ["backend"])
        )
        self._reloads = counter("agoge_policy_reloads", "Policy files read again.", ["outcome"])
        self._policy_bad = highest(
            "agoge_policy_stale",
            "1 while the policy file on disk is invalid and an older one is in force.",
        )
        self._policy = highest("agoge_policy_info", "The policy in force.", ["revision"])
        highest("agoge_build_info", "The version that runs.", ["version"]).labels(version).set(1)
        self._ejected = highest(
            "agoge_replica_ejected",
            "1 while a replica is left alone because it failed.",
            ["backend", "replica"],
        )
        self._withdrawn = highest(
            "agoge_canary_withdrawn",
            "Blends that an engine holds and that do not act.",
            ["backend"],
        )
        self._proven = lowest("agoge_canary_proven", "Blends that were proved to act.", ["backend"])
        self._proved_at = lowest(
            "agoge_canary_last_success_timestamp_seconds",
            "When the canary last finished without a failure.",
            ["backend"],
        )
        self._canary_seconds = highest(
            "agoge_canary_duration_seconds", "How long its last round took.", ["backend"]
        )
        self._canary_rounds = counter("agoge_canary_rounds", "Rounds of the canary.", ["backend", "outcome"])
        self._outcomes = counter(
            "agoge_outcomes", "Verdicts of people that were kept.", ["verdict", "decided", "channel"]
        )

    def record(self, fact: Fact) -> None:
        """Count one fact."""
        match fact:
            case Decided():
                self._decided(fact)
            case Began(backend=backend, stages=stages):
                self._open(backend).inc()
                self._spent(stages)
            case Judged(verdict=verdict, decided=decided, channel=channel):
                self._outcomes.labels(verdict, *self._label(decided or ""), channel).inc()
            case CacheFailed(operation=operation):
                self._cache_failures.labels(operation).inc()
            case BackendAnswered():
                self._answered(fact)
            case BackendAttemptFailed(backend=backend, code=code, started=started):
                self._failures.labels(backend, *self._code(code), str(started).lower()).inc()
                if started:
                    self._open(backend).dec()
            case Abandoned(backend=backend, started=started):
                self._abandoned.labels(backend).inc()
                if started:
                    self._open(backend).dec()
            case RequestRefused(code=code, status=status):
                self._refused.labels(*self._code(code, str(status))).inc()
            case Occupied(backend=backend, in_use=in_use, waiting=waiting):
                self._in_use(backend).set(in_use)
                self._waiting(backend).set(waiting)
            case PolicyReloaded(revision=revision, error=error):
                self._reloads.labels("refused" if error else "loaded").inc()
                self._policy_bad.set(1 if error else 0)
                if not self._shared:
                    self._policy.clear()
                elif self._revision is not None:  # what several workers share cannot be cleared
                    self._policy.labels(self._revision).set(0)
                self._policy.labels(revision).set(1)
                self._revision = revision
            case ReplicaEjected(backend=backend, replica=replica, seconds=seconds):
                self._ejected.labels(backend, replica).set(1 if seconds else 0)
            case CanaryFinished():
                self._canary(fact)

    def _decided(self, fact: Decided) -> None:
        decision = fact.decision
        self._decisions(*self._label(decision.label or ""), decision.reason, fact.cache).inc()
        self._by_blend(*self._blend(decision.blend.id)).inc()
        self._by_tenant(*self._tenant(decision.tenant)).inc()
        counts = dict[Reason, int]()
        for verdict in decision.verdicts:
            counts[verdict.reason] = counts.get(verdict.reason, 0) + 1
        for reason, count in counts.items():
            self._verdict[reason](count)
        if decision.out_of_domain:
            self._abstentions.inc()
        self._decision_seconds(fact.cache).observe(fact.seconds)
        self._spent(fact.stages)

    def _answered(self, fact: BackendAnswered) -> None:
        both = (fact.backend, *self._blend(fact.blend))
        self._open(fact.backend).dec()
        self._answers(*both).inc()
        self._ttft(fact.backend).observe(fact.first)
        self._answer_seconds(fact.backend).observe(fact.total)
        self._stage["answer"](fact.total)
        self._prompt_tokens(*both).inc(fact.prompt_tokens or 0)
        self._tokens(*both).inc(fact.completion_tokens or 0)

    def _spent(self, stages: Mapping[Stage, float]) -> None:
        for stage, seconds in stages.items():
            self._stage[stage](seconds)

    def _canary(self, fact: CanaryFinished) -> None:
        outcome = "unfinished" if fact.trouble else "failed" if fact.failed else "passed"
        self._canary_rounds.labels(fact.backend, outcome).inc()
        self._withdrawn.labels(fact.backend).set(len(fact.failed))
        self._proven.labels(fact.backend).set(fact.proven)
        self._canary_seconds.labels(fact.backend).set(fact.seconds)
        if outcome == "passed":
            self._proved_at.labels(fact.backend).set_to_current_time()

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus's text format 0.0.4."""
        return generate_latest(self._registry)


def _children(metric: M) -> Callable[..., M]:
    """Return `metric.labels`, remembered: finding a child takes longer than counting, and they are few."""
    return cache(metric.labels)


def _share(worker: int) -> None:
    """Keep this process's values in files that its siblings read, and forget the gauges of the one before it."""
    for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob(f"gauge_*_{worker}.db"):
        file.unlink()
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]
