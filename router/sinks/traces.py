"""Facts and stages -> OpenTelemetry spans, sent by OTLP over HTTP. The only module that imports opentelemetry.

Imported only where traces are on. Names are those of OpenTelemetry's semantic conventions (HTTP, generative AI),
and begin with `agoge.` where these have none. No prompt text: facts hold none, and an exception is named by its
type. Spans wait in a bounded queue for a thread of their own; what a collector does not take is dropped there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Thread

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from router.core.decision import Decision
from router.core.facts import (
    Abandoned,
    BackendAnswered,
    BackendAttemptFailed,
    CacheFailed,
    Decided,
    Fact,
    RequestRefused,
)
from router.core.trace import Fields, Span, current

TIMEOUT_SECONDS = 5.0  # for one batch; also how long the end of the process may wait for the last one
MOST_VERDICTS = 64
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
_PROPAGATOR = TraceContextTextMapPropagator()

Value = str | int | float | bool | Sequence[str]


def exporting(endpoint: str | None = None) -> SpanProcessor:
    """Return what sends spans to the collector at `endpoint`; None takes it from OTEL_EXPORTER_OTLP_*."""
    target = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
    return BatchSpanProcessor(OTLPSpanExporter(target, timeout=TIMEOUT_SECONDS))


class Traces:
    """A tracer, and a sink that writes facts on the span under way. `processor` is given the finished spans."""

    def __init__(self, processor: SpanProcessor, version: str = "") -> None:
        ours = Resource.create({"service.name": "agoge", "service.version": version})
        self._provider = TracerProvider(
            resource=ours.merge(OTELResourceDetector().detect()),  # OTEL_SERVICE_NAME wins
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("agoge", version)

    def request(self, headers: Mapping[str, str]) -> _Span:
        """Begin the span of a request. What `headers` say is believed only as far as it is well formed."""
        context = _PROPAGATOR.extract(headers, Context())
        return _Span(self._tracer, self._tracer.start_span("request", context, SpanKind.SERVER))

    def record(self, fact: Fact) -> None:
        """Write one fact on the span under way."""
        span = current()
        if isinstance(span, _Span):
            span.tell(fact)

    def close(self) -> None:
        """Send what is left, as far as that goes in TIMEOUT_SECONDS: the SDK itself waits for half a minute."""
        ending = Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(TIMEOUT_SECONDS)


class _Span:
    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: otel.Tracer, span: otel.Span) -> None:
        self._tracer, self._span = tracer, span

    @property
    def trace_id(self) -> str:
        return otel.format_trace_id(self._span.get_span_context().trace_id)

    @property
    def headers(self) -> Mapping[str, str]:
        carried: dict[str, str] = {}
        _PROPAGATOR.inject(carried, otel.set_span_in_context(self._span, Context()))
        return carried

    def child(self, name: str, fields: Fields = {}, *, calls: bool = False) -> Span:  # noqa: B006 - never changed
        named: dict[str, Value] = {f"agoge.{field}": value for field, value in fields.items()}
        if name == "dispatch":
            name = f"chat {fields['blend']}"
            named |= {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": str(fields["backend"]),
                "gen_ai.request.model": str(fields["blend"]),
            }
        inside = otel.set_span_in_context(self._span, Context())
        kind = SpanKind.CLIENT if calls else SpanKind.INTERNAL
        return _Span(self._tracer, self._tracer.start_span(name, inside, kind, named))

    def event(self, name: str) -> None:
        if self._span.is_recording():
            self._span.add_event(name)

    def answered(self, method: str, route: str | None, status: int) -> None:
        known = method if method in _METHODS else "_OTHER"
        self._set({"http.request.method": known, "http.response.status_code": status})
        if route is not None:
            self._set({"http.route": route})
        self._span.update_name(f"{known} {route}" if route is not None else known)
        if status >= 500:
            self._failed(str(status))

    def end(self, error: str = "") -> None:
        if error:
            self._failed(error)
        self._span.end()

    def tell(self, fact: Fact) -> None:
        if not self._span.is_recording():  # not sampled; or it has ended, and a task that outlives it goes on
            return
        match fact:
            case Decided(id=name, decision=decision, cache=cache, request_id=request_id):
                self._set({"agoge.decision.id": name, "agoge.cache": cache, "agoge.request.id": request_id})
                self._set(_told(decision))
            case BackendAnswered(prompt_tokens=prompt, completion_tokens=completion, finish=finish):
                used = {"gen_ai.usage.input_tokens": prompt, "gen_ai.usage.output_tokens": completion}
                self._set({name: count for name, count in used.items() if count is not None})
                self._set({"gen_ai.response.finish_reasons": [finish]} if finish else {})
            case BackendAttemptFailed(backend=backend, code=code):
                self._span.add_event("attempt failed", {"agoge.backend": backend, "error.type": code})
            case Abandoned():
                self._span.add_event("client gone")
            case CacheFailed(operation=operation):
                self._span.add_event("cache failed", {"agoge.operation": operation})
            case RequestRefused(code=code, status=status):
                self._set({"error.type": code})
                if status >= 500:
                    self._failed(code)

    def _set(self, fields: Mapping[str, Value]) -> None:
        self._span.set_attributes(fields)

    def _failed(self, error: str) -> None:
        if self._span.is_recording():
            self._span.set_status(StatusCode.ERROR)
            self._set({"error.type": error})


def _told(decision: Decision) -> dict[str, Value]:
    verdicts = decision.verdicts[:MOST_VERDICTS]
    return {
        "agoge.label": decision.label or "",
        "agoge.blend": decision.blend.id,
        "agoge.adapters": list(decision.blend.weights),
        "agoge.alone": decision.blend.alone,
        "agoge.reason": decision.reason.value,
        "agoge.verdicts": [f"{verdict.adapter} {verdict.reason}" for verdict in verdicts],
        "agoge.out_of_domain": decision.out_of_domain,
        "agoge.inherited": decision.inherited,
        "agoge.policy": decision.policy,
        "agoge.classifier": decision.classifier,
        "agoge.tenant": decision.tenant,
        "agoge.role": decision.role or "",
    }
