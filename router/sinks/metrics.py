"""Facts -> Prometheus. The only module that imports prometheus_client."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

from router.core.facts import (
    Abandoned,
    BackendAnswered,
    BackendAttemptFailed,
    CacheFailed,
    CanaryFinished,
    Decided,
    Fact,
    Judged,
    PolicyReloaded,
    ReplicaEjected,
    RequestRefused,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_DECISION_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_ANSWER_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class MetricsSink:
    """Counts in its own registry, so that two routers in one process (tests) do not collide."""

    def __init__(self, worker: int | None = None) -> None:
        """`worker`: which of several workers this is. They write into the files of PROMETHEUS_MULTIPROC_DIR, under
        their numbers, so that one who is started again counts on; each of them tells the metrics of all.
        """
        self._shared = worker is not None
        registry = self._registry = CollectorRegistry()
        if worker is not None:
            _share(worker)
            self._registry = CollectorRegistry()
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
        self._decisions = Counter(
            "agoge_decisions",
            "Decisions taken.",
            ["tenant", "blend", "label", "reason", "cache"],
            registry=registry,
        )
        self._decision_seconds = Histogram(
            "agoge_decision_seconds",
            "Parsed request to decision.",
            ["cache"],
            buckets=_DECISION_SECONDS,
            registry=registry,
        )
        self._cache_failures = Counter(
            "agoge_cache_failures", "Cache calls that failed or were too slow; each was a miss.", ["operation"],
            registry=registry,
        )  # fmt: skip
        self._answers = Counter(
            "agoge_answers", "Streams that ended well.", ["backend", "blend"], registry=registry
        )
        self._ttft = Histogram(
            "agoge_ttft_seconds",
            "Dispatch to first event (TTFT).",
            ["backend"],
            buckets=_ANSWER_SECONDS,
            registry=registry,
        )
        self._answer_seconds = Histogram(
            "agoge_answer_seconds",
            "Dispatch to last event.",
            ["backend"],
            buckets=_ANSWER_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "agoge_completion_tokens",
            "Tokens, as the engines count them.",
            ["backend", "blend"],
            registry=registry,
        )
        self._failures = Counter(
            "agoge_backend_failures", "Attempts that failed.", ["backend", "code", "started"], registry=registry
        )
        self._abandoned = Counter("agoge_abandoned", "Clients that went away.", ["backend"], registry=registry)
        self._refused = Counter(
            "agoge_refused", "Requests that got an error.", ["code", "status"], registry=registry
        )
        self._reloads = Counter("agoge_policy_reloads", "Policy files read again.", ["outcome"], registry=registry)
        self._policy_bad = Gauge(
            "agoge_policy_stale", "1 while the policy file on disk is invalid and an older one is in force.",
            multiprocess_mode="max", registry=registry,
        )  # fmt: skip
        self._policy = Gauge(
            "agoge_policy_info", "The policy in force.", ["revision"], multiprocess_mode="max", registry=registry
        )
        self._revision: str | None = None
        self._ejected = Gauge(
            "agoge_replica_ejected", "1 while a replica is left alone because it failed.", ["backend", "replica"],
            multiprocess_mode="max", registry=registry,
        )  # fmt: skip
        self._withdrawn = Gauge(
            "agoge_canary_withdrawn", "Blends that an engine holds and that do not act.", ["backend"],
            multiprocess_mode="max", registry=registry,
        )  # fmt: skip
        self._proven = Gauge(
            "agoge_canary_proven",
            "Blends that were proved to act.",
            ["backend"],
            multiprocess_mode="min",
            registry=registry,
        )
        self._proved_at = Gauge(
            "agoge_canary_last_success_timestamp_seconds", "When the canary last finished without a failure.",
            ["backend"], multiprocess_mode="min", registry=registry,
        )  # fmt: skip
        self._canary_seconds = Gauge(
            "agoge_canary_duration_seconds",
            "How long its last round took.",
            ["backend"],
            multiprocess_mode="max",
            registry=registry,
        )
        self._canary_rounds = Counter(
            "agoge_canary_rounds", "Rounds of the canary.", ["backend", "outcome"], registry=registry
        )

        self._outcomes = Counter(
            "agoge_outcomes",
            "Verdicts of people that were kept.",
            ["verdict", "decided", "channel"],
            registry=registry,
        )  # fmt: skip

    def record(self, fact: Fact) -> None:
        """Count one fact."""
        match fact:
            case Decided(decision=decision, cache=cache, seconds=seconds):
                self._decisions.labels(
                    decision.tenant, decision.blend.id, decision.label or "", decision.reason, cache
                ).inc()
                self._decision_seconds.labels(cache).observe(seconds)
            case Judged(verdict=verdict, decided=decided, channel=channel):
                self._outcomes.labels(verdict, decided or "", channel).inc()
            case CacheFailed(operation=operation):
                self._cache_failures.labels(operation).inc()
            case BackendAnswered(backend=backend, blend=blend, first=first, total=total, completion_tokens=tokens):
                self._answers.labels(backend, blend).inc()
                self._ttft.labels(backend).observe(first)
                self._answer_seconds.labels(backend).observe(total)
                self._tokens.labels(backend, blend).inc(tokens or 0)
            case BackendAttemptFailed(backend=backend, code=code, started=started):
                self._failures.labels(backend, code, str(started).lower()).inc()
            case Abandoned(backend=backend):
                self._abandoned.labels(backend).inc()
            case RequestRefused(code=code, status=status):
                self._refused.labels(code, str(status)).inc()
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


def _share(worker: int) -> None:
    """Keep this process's values in files that its siblings read, and forget the gauges of the one before it."""
    for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob(f"gauge_*_{worker}.db"):
        file.unlink()
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]
