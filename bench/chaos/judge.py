"""The promises that no fault may break, checked over everything that was written down. Pure; starts nothing.

It is given what the clients saw, what the engines were asked, and what the router logged, and joins the three by
the decision's id: who was decided, who was asked for, who was heard.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.chaos.policies import Catalogue

Record = Mapping[str, Any]

ERRORS = {
    ("backend_failed", 502), ("backend_unreachable", 502), ("backend_timeout", 504), ("rate_limit_exceeded", 429),
    ("blend_unavailable", 503), ("outcomes_unavailable", 503), ("server_stopping", 503),
}  # fmt: skip
"""Every error that a fault may show to a client, with its status (router/core/errors.py draws the tree)."""
SLOWER, MORE = 5.0, 1.0
"""Requests that a fault does not touch may take five times as long as before, or a second more: the machine
has two cores, and a fault keeps others busy.
"""
_QUIET = frozenset({"router.channels.feedback"})
"""Loggers whose warnings belong to a fault; anything else above information is a bug."""


@dataclass(frozen=True)
class Evidence:
    """All that was written down: by the clients, by each engine, by the router, and what feedback is kept.

    `begin` and `end` are monotonic seconds around the fault, the time to recover included.
    """

    records: Sequence[Record]
    asked: Mapping[str, Sequence[Record]]
    log: Sequence[Record]
    kept: frozenset[str]
    begin: float
    end: float


@dataclass(frozen=True)
class Allowed:
    """What a fault may cost: `codes` of errors, only for requests that `touched` says it touches.

    `left`: clients leave on purpose. `gone`: the router itself is ended, so a request may find nobody there.
    """

    codes: frozenset[str] = frozenset()
    touched: Callable[[Record], bool] = lambda record: False
    left: bool = False
    gone: Callable[[Record], bool] = field(default=lambda record: False)


def broken(evidence: Evidence, allowed: Allowed, catalogue: Catalogue) -> list[str]:
    """Return every broken promise, in words; none is what a fault should find."""
    decided = {fact["id"]: fact for fact in evidence.log if fact.get("fact") == "Decided"}
    return [
        *(wrong for record in evidence.records for wrong in _client(record, evidence, allowed, catalogue)),
        *_engines(evidence.asked, decided, catalogue),
        *_decisions(decided.values(), catalogue),
        *_feedback(evidence),
        *(f"the router logs {_short(line)}" for line in evidence.log if _alarming(line)),
    ]


def _client(record: Record, evidence: Evidence, allowed: Allowed, catalogue: Catalogue) -> Iterable[str]:
    end, who = record["end"], f"a {record['kind']} request of {record['tenant']}"
    during = record["ended"] >= evidence.begin and record["began"] <= evidence.end
    if end in ("refused", "broken off"):
        code, status = record.get("code"), record["status"]
        if end == "refused" and (code, status) not in ERRORS:
            yield f"{who} got {status} with the code {code}: {record.get('message')}"
        elif not during:
            yield f"{who} failed with {code} although no fault was there"
        elif code not in allowed.codes or not allowed.touched(record):
            yield f"{who} failed with {code}, which this fault must not cost: {record.get('message')}"
    elif end == "lost" and not allowed.gone(record):
        yield f"{who} was lost: {record.get('why')} (status {record['status']})"
    elif end == "left" and not allowed.left:
        yield f"{who} was left by its client"
    speakers = record.get("speakers") or []
    if speakers and speakers != [record.get("blend")]:
        yield f"{who} was decided for {record.get('blend')} and heard {', '.join(speakers)}"
    for speaker in speakers:
        blend = catalogue.blends.get(speaker)
        if blend is None:
            yield f"{who} heard {speaker}, whom no policy can reach"
        elif record["isolated"] != blend.alone:
            yield f"{who} heard {speaker}; isolated was {record['isolated']}"
        elif not blend.alone and "core" not in blend.weights:
            yield f"{who} heard {speaker} without the core"


def _engines(
    asked: Mapping[str, Sequence[Record]], decided: Mapping[str, Record], catalogue: Catalogue
) -> Iterable[str]:
    asks: dict[str, list[tuple[float, str, Record]]] = defaultdict(list)
    for engine, entries in asked.items():
        for entry in entries:
            decision, model = entry["decision"], entry["model"]
            if not decision and entry["how"] == "unknown":
                continue  # the driver asks for a name that nobody has, to see it refused
            if decision not in decided:
                yield f"{engine} was asked for {model} by nobody's decision ({decision})"
            elif model != decided[decision]["blend"]:
                yield f"{engine} was asked for {model}, but {decided[decision]['blend']} was decided ({decision})"
            elif entry["how"] == "unknown" or model not in catalogue.held_by(engine):
                yield f"{engine} was asked for {model}, which it does not hold ({decision})"
            asks[decision].append((entry["at"], engine, entry))
    for decision, entries_of in asks.items():
        spoke = False
        for _, engine, entry in sorted(entries_of, key=lambda each: each[0]):
            if entry["how"] == "began" and spoke:
                yield f"{engine} was asked for an answer that had begun elsewhere ({decision})"
            spoke = spoke or entry["said"] > 0


def _decisions(decided: Iterable[Record], catalogue: Catalogue) -> Iterable[str]:
    for fact in decided:
        reach = catalogue.reach.get(fact["policy"])
        if reach is None or fact["blend"] not in reach:
            yield f"{fact['id']} has the revision {fact['policy']}, which cannot reach its blend {fact['blend']}"


def _feedback(evidence: Evidence) -> Iterable[str]:
    for record in evidence.records:
        if record["kind"] == "feedback" and record["status"] == 201 and record["decision"] not in evidence.kept:
            yield f"the feedback on {record['decision']} was acknowledged and is gone"


def _alarming(line: Record) -> bool:
    if line.get("log") == "uvicorn.error" and line["message"].startswith("Cancel "):
        return False  # how many answers outlived the grace: the operator should know
    return "log" in line and line["log"] not in _QUIET and line.get("level") not in ("DEBUG", "INFO")


def _short(line: Record) -> str:
    return ", ".join(f"{name} {line[name]!r:.200}" for name in ("log", "level", "message", "at") if name in line)


def p50(records: Iterable[Record], kind: Callable[[Record], bool]) -> float | None:
    """Return the median seconds of whole answers of a kind; None without any."""
    taken = [r["ended"] - r["began"] for r in records if r["end"] == "whole" and kind(r)]
    return median(taken) if taken else None


def slowed(before: float | None, during: float | None) -> list[str]:
    """Return what is wrong with the latency of requests that the fault does not touch; None: there were none."""
    if before is None or during is None:
        return [
            "no request that the fault does not touch was answered " + ("before" if before is None else "in it")
        ]
    if during > max(before * SLOWER, before + MORE):
        return [f"untouched requests took {during:.2f} s at p50, {before:.2f} s before"]
    return []


def count(records: Iterable[Record]) -> dict[str, int]:
    """Return how many requests ended in which way, by the words of the table."""
    found: dict[str, int] = defaultdict(int)
    for record in records:
        end = record["end"]
        found[f"{end}: {record['code']}" if end in ("refused", "broken off") else end] += 1
    return dict(sorted(found.items()))
