"""What is wrong with the settings of traces is said before anything is served."""

from __future__ import annotations

import sys

import pytest

from router.wiring.settings import Settings, SettingsInvalid
from router.wiring.tracing import open_traces

HERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("traces", "environment", "said"),
    [
        ("collector:4318", {}, "write http://HOST:4318"),
        ("http://", {}, "write http://HOST:4318"),
        ("http://h:port", {}, "write http://HOST:4318"),
        ("http://h?key=1", {}, "write http://HOST:4318"),
        ("http://h:4318/v1/traces", {}, "give the root"),
        ("http://us:secret@h:4318", {}, "OTEL_EXPORTER_OTLP_HEADERS"),
        (None, {**HERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
        (None, {**HERE, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "http/protobuf"),
        (None, {**HERE, "OTEL_TRACES_EXPORTER": "zipkin"}, "otlp, or none"),
    ],
)
def test_a_mistake_is_named(traces: str | None, environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsInvalid, match=said) as raised:
        open_traces(Settings(traces=traces, environment=environment))
    assert "secret" not in str(raised.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "router.sinks.traces", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsInvalid, match=r"pip install 'agoge-router\[otel\]'"):
        open_traces(Settings(traces="http://127.0.0.1:1", environment={}))


def test_otlp_by_name_is_what_is_spoken() -> None:
    traces = open_traces(
        Settings(traces="http://127.0.0.1:1", environment={**HERE, "OTEL_TRACES_EXPORTER": "otlp"})
    )
    assert traces is not None
    traces.close()
