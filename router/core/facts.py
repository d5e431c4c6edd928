"""What happened, as frozen values that any sink (metrics, log) can take. Holds no prompt text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from router.core.decision import Decision
from router.core.stages import Stage


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision was taken. `seconds` from the parsed request to the decision; `request_id` is the caller's.

    `asked` holds the adapters that the user named, None when the scores chose: with the decision's scores, all
    that `decide` was given. `stages`: what the seconds went into.
    """

    id: str
    decision: Decision
    cache: Literal["hit", "miss"]
    seconds: float
    request_id: str = ""
    asked: frozenset[str] | None = None
    stages: Mapping[Stage, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Began:
    """An engine began to answer. `stages`: seconds of what lies between the decision and its first event."""

    id: str
    backend: str
    stages: Mapping[Stage, float]


@dataclass(frozen=True, slots=True)
class CacheFailed:
    """A cache call failed or was too slow; the request went on without it."""

    operation: Literal["get", "put", "claim", "spend"]
    error: str


@dataclass(frozen=True, slots=True)
class BackendAnswered:
    """A stream ended well. `first` and `total` in seconds from dispatch; tokens as the engine counted them."""

    id: str
    backend: str
    blend: str
    first: float
    total: float
    completion_tokens: int | None
    prompt_tokens: int | None = None
    finish: str | None = None


@dataclass(frozen=True, slots=True)
class BackendAttemptFailed:
    """One attempt failed before its first event, or a stream broke off (`started`)."""

    id: str
    backend: str
    blend: str
    code: str
    message: str
    started: bool


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The client went away; the engine was freed. `started`: after the first event of the answer."""

    id: str
    backend: str
    started: bool = True


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A request got an error instead of an answer."""

    code: str
    status: int


@dataclass(frozen=True, slots=True)
class Occupied:
    """How many answers a backend gives now, and how many requests wait for a place there. For gauges."""

    backend: str
    in_use: int
    waiting: int


@dataclass(frozen=True, slots=True)
class PolicyReloaded:
    """A policy file changed and was read: `error` is None when it is in force, else the old one stays."""

    revision: str
    error: str | None


@dataclass(frozen=True, slots=True)
class ReplicaEjected:
    """A replica failed too often and is left alone for `seconds`; 0 when it answers again."""

    backend: str
    replica: str
    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class CanaryFinished:
    """A backend's blends were proved by behaviour: `proven` of them act, `failed` do not (blend id -> why).

    `calls` were sent to the engine in `seconds`. `trouble` says why the round could not be finished; then the
    verdicts are those of the rounds before.
    """

    backend: str
    proven: int
    failed: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    calls: int = 0
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A person's verdict on a decision was kept. `decided` and `label` are Outcome's; its text is no part."""

    id: str
    verdict: Literal["right", "wrong"]
    decided: str | None
    label: str | None
    channel: str


Fact = (
    Decided
    | Began
    | CacheFailed
    | BackendAnswered
    | BackendAttemptFailed
    | Abandoned
    | RequestRefused
    | Occupied
    | PolicyReloaded
    | ReplicaEjected
    | CanaryFinished
    | Judged
)
