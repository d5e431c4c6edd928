"""The real router, wiring, channels and a real HTTP server, on stub engines and a stub scorer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastapi import FastAPI

from router.caches.memory import MemoryCache
from router.core.facts import Fact
from router.keys_file import load_keys
from router.ports import DecisionCache, OutcomeStore, Sink
from router.service import Router
from router.sinks.metrics import MetricsSink
from router.sinks.traces import Traces
from router.wiring.app import build_app
from router.wiring.reload import Loader, PolicyWatch
from router.wiring.settings import Settings
from tests.stubs import POLICY, Facts, SpeakingBackend, WordScorer, listening, write_policy

SECRET = b"a secret for tests only, 32 bytes"


@dataclass
class Stage:
    """What a test may look at."""

    url: str
    app: FastAPI
    router: Router
    watch: PolicyWatch
    facts: Facts
    scorer: WordScorer
    backends: dict[str, SpeakingBackend]
    policy: Path


@asynccontextmanager
async def staged(
    folder: Path,
    *,
    policy: str = POLICY,
    backends: Mapping[str, SpeakingBackend] | None = None,
    cache: DecisionCache | None = None,
    keys: str | None = None,
    outcomes: OutcomeStore | None = None,
    traces: Traces | None = None,
    parser: Literal["auto", "h11", "httptools"] = "auto",
) -> AsyncIterator[Stage]:
    """Serve `policy` on the given stub engines; by default `first` and `second` both hold everything."""
    engines = dict(backends or {"first": SpeakingBackend(), "second": SpeakingBackend()})
    file = write_policy(folder, policy)
    settings = Settings(policy=file, backends={name: f"stub:{name}" for name in engines}, reload_seconds=0.05)
    facts, metrics, scorer = Facts(), MetricsSink(), WordScorer()
    sinks: tuple[Sink, ...] = (facts, metrics) if traces is None else (facts, metrics, traces)

    def record(fact: Fact) -> None:
        for sink in sinks:
            sink.record(fact)

    async def opener(address: object, policies: object, settings: object) -> SpeakingBackend:
        return engines[address.name]  # type: ignore[attr-defined]

    loader = Loader(settings, scorer, record, opener)
    router = Router(
        await loader.load(), scorer, MemoryCache() if cache is None else cache, SECRET, sinks, outcomes
    )
    watch = PolicyWatch(router, loader, settings)
    if keys is None:
        identify = lambda api_key: ("default", None)  # noqa: E731 - one line, one caller
    else:
        keys_file = folder / "keys.yaml"
        keys_file.write_text(keys, encoding="utf-8")
        identify = load_keys(keys_file, router.state.policies).identify
    app = build_app(router, watch, metrics, identify, tracer=traces)
    async with listening(app, parser) as url:
        yield Stage(url, app, router, watch, facts, scorer, engines, file)
