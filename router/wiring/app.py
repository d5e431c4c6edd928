"""Settings -> a running application. Opens everything in order, says what it is doing, closes it in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI

import classifiers
from router import __version__
from router.caches import open_cache, open_meter
from router.channels import errors
from router.channels.admin import description_routes, metrics_routes
from router.channels.completions import completion_routes
from router.channels.decisions import decision_routes
from router.channels.direct import Direct
from router.channels.feedback import feedback_routes
from router.channels.health import health_routes
from router.channels.models import model_routes
from router.channels.openai import chat_routes
from router.channels.rate_limits import RateLimits
from router.channels.request_id import RequestIds
from router.channels.responses import response_routes
from router.channels.traced import Traced
from router.channels.wire import Identify
from router.core.facts import Fact, PolicyReloaded
from router.core.policy import Policies
from router.keys_file import load_keys
from router.lemmas import RussianLemmatizer
from router.outcomes import open_outcomes
from router.policy_file import load_policies
from router.ports import DecisionCache, OutcomeStore, Sink, Tracer
from router.rates import Rates
from router.service import Router
from router.sinks.metrics import CONTENT_TYPE, MetricsSink
from router.typos import Speller
from router.wiring.reload import Loader, PolicyWatch
from router.wiring.scorer import ClassifierScorer
from router.wiring.settings import Settings, SettingsInvalid
from router.wiring.slack import mount_slack, speaks_http
from router.wiring.tracing import open_traces

Progress = Callable[[str, float | None], None]  # (what is being done, share done in [0, 1] or None)


@dataclass(frozen=True, slots=True)
class Running:
    """A router that is ready to take requests, its application, and the operators' own where one was asked for."""

    router: Router
    app: FastAPI
    watch: PolicyWatch
    admin: FastAPI | None = None


@asynccontextmanager
async def running(
    settings: Settings, sinks: Sequence[Sink] = (), progress: Progress | None = None
) -> AsyncIterator[Running]:
    """Open everything, yield it, and close it again.

    Raises AgogeError (a bad policy, setting or artefact) before anything is served.
    """
    say: Progress = progress or (lambda what, share: None)
    metrics = MetricsSink(__version__, settings.worker)
    traces = open_traces(settings)
    all_sinks: tuple[Sink, ...] = (metrics, *sinks) if traces is None else (metrics, traces, *sinks)

    def record(fact: Fact) -> None:
        for sink in all_sinks:
            sink.record(fact)

    async with AsyncExitStack() as opened:
        if traces is not None:
            opened.push_async_callback(asyncio.to_thread, traces.close)
        cache = _cache(settings)  # what is quick to refuse comes before what is slow
        opened.push_async_callback(cache.aclose)
        if (meter := open_meter(settings.cache)) is not None:
            opened.push_async_callback(meter.aclose)
        speaks_http(settings)
        if (outcomes := _outcomes(settings)) is not None:
            opened.push_async_callback(outcomes.aclose)
        secret = settings.secret()
        await asyncio.to_thread(_readable, settings)
        scorer = await open_scorer(settings, say)
        opened.callback(scorer.close)
        loader = Loader(settings, scorer, record)
        say("engine", None)
        router = Router(await loader.load(), scorer, cache, secret, all_sinks, outcomes, scorer)
        opened.push_async_callback(router.recent.aclose)
        opened.push_async_callback(lambda: router.state.fleet.aclose())  # the one in force by then
        identify = _identify(settings, router.state.policies)
        metrics.record(PolicyReloaded(router.state.policies.revision, None))
        watch = PolicyWatch(router, loader, settings)
        opened.push_async_callback(watch.aclose)
        opened.push_async_callback(
            _cancel,
            asyncio.create_task(watch.run()),
            asyncio.create_task(_look(router, settings.inventory_seconds)),
        )
        app = build_app(
            router,
            watch,
            metrics,
            identify,
            rates=Rates(record, meter, secret),
            tracer=traces,
            apart=settings.admin,
        )
        if speaks_http(settings):
            opened.push_async_callback(mount_slack(app, settings, router).aclose)
        yield Running(router, app, watch, build_admin(app, router, watch, metrics) if settings.admin else None)


async def open_scorer(settings: Settings, progress: Progress | None = None) -> ClassifierScorer:
    """Load the classifier, training it first when it is missing or its exemplars changed."""
    say: Progress = progress or (lambda what, share: None)
    say("classifier", None)
    try:
        if settings.classifier is not None:  # somebody's own artefact: used as it is, never trained over
            classifier = await asyncio.to_thread(classifiers.Classifier.load, settings.classifier)
        else:
            classifier = await asyncio.to_thread(
                classifiers.ensure,
                settings.data / "classifier",
                settings.exemplars,
                settings.encoder,
                lambda stage, done, total: say(f"classifier: {stage}", done / total),
            )
    except classifiers.ClassifierError as error:
        raise SettingsInvalid(str(error)) from error
    return await asyncio.to_thread(_warm_scorer, classifier)


def _warm_scorer(classifier: classifiers.Classifier) -> ClassifierScorer:
    """Build here what all predictions and all spelling use, and no request waits for it."""
    texts, lemmatizer = [row.text for row in classifier.rows], RussianLemmatizer()
    classifier.predict(texts[0])
    lemmatizer.knows("слово")
    return ClassifierScorer(classifier, Speller(texts, lemmatizer.knows))


def build_app(
    router: Router,
    watch: PolicyWatch,
    metrics: MetricsSink,
    identify: Identify,
    *,
    rates: Rates | None = None,
    tracer: Tracer | None = None,
    apart: bool = False,
) -> FastAPI:
    """Return the application: every channel on one router.

    Without `rates` this process counts requests alone. `apart`: without what `build_admin` has.
    """
    app = FastAPI(
        title="Agoge",
        version=__version__,
        summary="The router that decides which LoRA adapters should speak.",
        docs_url=None if apart else "/docs",
        openapi_url=None if apart else "/openapi.json",
        redoc_url=None,
        redirect_slashes=False,  # a redirect would be built from whatever Host the client made up
        telemetry={"tracing": False, "metrics": False, "logs": False},  # `traces` and `metrics` here are ours
    )
    failed = errors.install(app, router)
    busy = [
        chat_routes(router, identify),
        response_routes(router, identify),
        completion_routes(router, identify),
        decision_routes(router, identify),
    ]
    others = [
        model_routes(router, identify),
        feedback_routes(router, identify),
        health_routes(router, lambda: watch.trouble),
        *([] if apart else [metrics_routes(metrics.exposition, CONTENT_TYPE)]),
    ]
    for routes in (*busy, *others):
        app.include_router(routes)
    app.add_middleware(Direct, routers=busy, failed=failed)
    app.add_middleware(RateLimits, router, identify, rates or Rates(router.record))
    app.add_middleware(RequestIds)  # added later, so it is the outer one: it names refusals too
    if tracer is not None:
        app.add_middleware(Traced, tracer=tracer)
    return app


def build_admin(app: FastAPI, router: Router, watch: PolicyWatch, metrics: MetricsSink) -> FastAPI:
    """Return the operators' application: health again, metrics, and the description of `app`."""
    admin = FastAPI(
        title="Agoge, for operators", version=__version__, docs_url=None, redoc_url=None, openapi_url=None
    )
    errors.install(admin, router)
    admin.include_router(health_routes(router, lambda: watch.trouble))
    admin.include_router(metrics_routes(metrics.exposition, CONTENT_TYPE))
    admin.include_router(description_routes(app))
    return admin


def _cache(settings: Settings) -> DecisionCache:
    try:
        return open_cache(settings.cache)
    except ValueError as error:
        raise SettingsInvalid(f"--cache: {error}") from None


def _outcomes(settings: Settings) -> OutcomeStore | None:
    try:
        return open_outcomes(settings.outcomes, settings.cache, settings.data)
    except ValueError as error:
        raise SettingsInvalid(f"--outcomes: {error}") from None


def _readable(settings: Settings) -> None:
    """Raise PolicyInvalid for a policy or keys file that cannot be right whatever the classifier knows."""
    policies = load_policies(settings.policy)
    if settings.keys is not None:
        load_keys(settings.keys, policies)


def _identify(settings: Settings, policies: Policies) -> Identify:
    if settings.keys is None:
        return lambda api_key: ("default", None)
    keys = load_keys(settings.keys, policies)
    return keys.identify


async def _look(router: Router, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        await router.state.fleet.look()


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
