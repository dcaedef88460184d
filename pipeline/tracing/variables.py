"""Whether to trace: by OpenTelemetry's own variables, which the SDK reads for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
EXPORTER = "OTEL_TRACES_EXPORTER"
DISABLED = "OTEL_SDK_DISABLED"
OTLP = "otlp"
PROTOCOL = "http/protobuf"


def wanted(environ: Mapping[str, str]) -> bool:
    """An endpoint is named, and nothing says that there shall be no traces."""
    return (
        any(environ.get(name) for name in ENDPOINTS)
        and environ.get(DISABLED, "").strip().lower() != "true"
        and OTLP in environ.get(EXPORTER, OTLP).split(",")
    )


def problem(environ: Mapping[str, str]) -> str | None:
    """Why it cannot be traced as these variables say; None if it can."""
    for name in PROTOCOLS:
        if value := environ.get(name):
            return None if value == PROTOCOL else f"{name} is {value!r}; takes {PROTOCOL}"
    return None


def secrets(environ: Mapping[str, str]) -> list[str]:
    """What must be in no log: values of headers, and a password in an endpoint."""
    found = []
    for name in HEADERS:
        for pair in environ.get(name, "").split(","):
            value = pair.partition("=")[2].strip()
            # As it is given, as it is sent, and what of it is no scheme of authorisation.
            sent = unquote(value)
            found += [value, sent, sent.rpartition(" ")[2]]
    for name in ENDPOINTS:
        try:
            found.append(urlsplit(environ.get(name, "")).password or "")
        except ValueError:
            continue
    return [value for value in found if value]
