"""Whether traces are on, and where they go: an option of ours, or OpenTelemetry's own variables.

Source: OpenTelemetry specification, "Environment Variable Specification" and "OTLP Exporter".
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from router import __version__
from router.wiring.settings import Settings, SettingsInvalid

if TYPE_CHECKING:
    from router.sinks.traces import Traces

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN = "http/protobuf"


def open_traces(settings: Settings) -> Traces | None:
    """Return what traces, None when nobody asked for it. Raises SettingsInvalid."""
    said = settings.environment
    if said.get("OTEL_SDK_DISABLED", "").lower() == "true" or said.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    if settings.traces is None and not any(map(said.get, ENDPOINTS)):
        return None
    if said.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        raise SettingsInvalid("OTEL_TRACES_EXPORTER must be otlp, or none for no traces")
    protocol = next(filter(None, map(said.get, PROTOCOLS)), SPOKEN)
    if protocol != SPOKEN:
        raise SettingsInvalid(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r:.40}; traces are sent by {SPOKEN} only, to a collector's "
            "port for it (4318, as a rule)"
        )
    if settings.traces is not None:
        _checked(settings.traces)
    try:
        from router.sinks.traces import Traces, exporting
    except ModuleNotFoundError as missing:
        raise SettingsInvalid(
            f"traces need {missing.name}: pip install 'agoge-router[otel]', or set OTEL_SDK_DISABLED=true"
        ) from None
    return Traces(exporting(settings.traces), __version__)


def _checked(url: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise SettingsInvalid(f"--traces {url!r:.80}: {error}; write http://HOST:4318") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise SettingsInvalid(f"--traces {url!r:.80} is not a collector's root; write http://HOST:4318")
    if parts.password is not None or parts.username is not None:
        raise SettingsInvalid("--traces holds a password; put it into OTEL_EXPORTER_OTLP_HEADERS")
    if parts.path.rstrip("/").endswith("/v1/traces"):
        raise SettingsInvalid(f"--traces {url!r:.80} ends in /v1/traces; give the root, the path is added to it")
