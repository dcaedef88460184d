"""Whether traces are made: OpenTelemetry's own variables say so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.tracing import variables

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, True),
        ({"OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "console,otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "x"}, True),
    ],
)
def test_an_endpoint_turns_them_on_and_the_standards_switches_off(
    more: dict[str, str], wanted: bool
) -> None:
    assert variables.wanted({**ENDPOINT, **more}) is wanted
    assert not variables.wanted({})


def test_another_protocol_is_a_problem() -> None:
    assert variables.problem(ENDPOINT) is None
    assert variables.problem({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}) is None
    said = variables.problem({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert said == "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'; takes http/protobuf"
    both = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
    }
    assert variables.problem(both) is None


def test_values_of_headers_are_secrets() -> None:
    found = variables.secrets(
        {
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=abcdefgh, authorization=Bearer%20zyxwvut",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://me:password@host",
        }
    )
    assert {"abcdefgh", "Bearer%20zyxwvut", "Bearer zyxwvut", "zyxwvut", "password"} == {*found}


WITHOUT_THE_EXTRA = """
import sys
from pipeline.logs import setup
from pipeline.tracing.start import start

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
setup("INFO", "json", "test")
for name in ("fetch", "execute", "batch", "load"):
    assert start(name, name, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1"}) is None
assert start("fetch", "fetch", {}) is None
"""


def test_without_the_extra_one_warning_tells_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert '"level":"WARNING"' in line
    assert '"action":"tracing_off"' in line
    assert "[otel]" in line
