"""A run of the collector to draw the dashboard with: ``python -m bench.dashboard_run``.

::

    python -m bench.dashboard_run --picture docs/dashboard.svg --prometheus /usr/bin/prometheus

Prometheus scrapes a real collector once a second, in front of the sandbox. Messages come in waves,
``load`` is killed once, and some of what Azure answers is slow, refused or forbidden, so that there
is something to see. What is drawn ends while the last wave is being worked on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench.dashboard_data import NO_PROXY, Span
from bench.dashboard_picture import draw
from bench.queue_messages import send
from bench.stand import BenchError, environment
from pipeline.errors import CollectorError
from pipeline.message_format.services import SERVICES
from pipeline.sandbox.arm.control import SimulatorControl
from pipeline.sandbox.runner import Sandbox

SERVICE_NAMES = ("compute", "network", "storage", "keyvault", "web")
SUBSCRIPTIONS, MACHINES, LATENCY_MS = 4, 1_200, 50
REQUESTS_PER_MESSAGE = 10
SEED = 1
# Seconds after the start, requests that are sent then, and messages that are not well formed.
WAVES = ((10.0, 2_500, 0), (60.0, 2_500, 3), (115.0, 9_000, 2))
KILL_AT_S, KILLED = 85.0, "load"
END_S = 180.0
# A slow provider, one that has a limit of its own, and a place without a role.
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "latency", "regex": "Microsoft.Storage", "latency_s": 0.2},
    {"kind": "throttle", "regex": "Microsoft.Web", "probability": 0.1, "retry_after_s": 2},
    {
        "kind": "status", "regex": "Microsoft.KeyVault", "probability": 0.2,
        "status": 403, "code": "AuthorizationFailed",
    },
)  # fmt: skip
SETTINGS = {
    "NUM_PROCESSES": "2", "NUM_THREADS": "8", "BATCH_TIMEOUT": "5", "LOG_FORMAT": "json",
    "SPOOL_BYTES": str(64 * 2**20),
}  # fmt: skip
# Grafana takes four scrapes; more makes calmer lines.
RATE_S = 10
READY_LIMIT_S, STOP_LIMIT_S, ASK_LIMIT_S = 40.0, 60.0, 5.0
POLL_S = 0.1


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and draw.

    Returns:
        0 it is drawn, 1 the run is no run, 2 bad usage, 3 the sandbox could not be had.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.dashboard_run")
    parser.add_argument("--picture", type=Path, action="append", required=True, metavar="FILE")
    parser.add_argument("--prometheus", default="prometheus", help="program (%(default)s)")
    options = parser.parse_args(argv)
    if shutil.which(options.prometheus) is None:
        parser.error(f"there is no program {options.prometheus}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="dashboard-", ignore_cleanup_errors=True) as name:
            _run(Path(name), options.prometheus, options.picture)
    except CollectorError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _run(folder: Path, prometheus: str, pictures: Sequence[Path]) -> None:
    options = ["--subscriptions", SUBSCRIPTIONS, "--vms", MACHINES, "--latency-ms", LATENCY_MS]
    with ExitStack() as stack:
        sandbox = stack.enter_context(
            Sandbox(folder / "sandbox", arm_options=[str(option) for option in options])
        )
        arm = SimulatorControl(sandbox.settings["AZURE_ARM_ENDPOINT"])
        arm.faults(FAULTS)
        status_port, prometheus_port = free_port(), free_port()
        stack.enter_context(_prometheus(folder, prometheus, prometheus_port, status_port))
        settings = {**sandbox.settings, **SETTINGS, "OPS_PORT": str(status_port)}
        stack.enter_context(_collector(folder, settings, status_port))
        start_s = time.time()
        _work(settings, resources(arm), status_port, start_s)
        span = Span(start_s, time.time(), RATE_S)
        for picture in pictures:
            draw(f"http://127.0.0.1:{prometheus_port}", span, picture)


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# ── what happens ─────────────────────────────────────────────────────────────────────────────────


def _work(
    settings: dict[str, str], requests: Sequence[dict[str, str]], port: int, start_s: float
) -> None:
    killed = False
    waves = list(WAVES)
    left = itertools.cycle(requests)
    while (now_s := time.time() - start_s) < END_S:
        if waves and now_s >= waves[0][0]:
            _, count, malformed = waves.pop(0)
            send(settings, [*messages(left, count), *["not JSON"] * malformed])
        if not killed and now_s >= KILL_AT_S:
            os.kill(_process(port, KILLED), signal.SIGKILL)
            killed = True
        time.sleep(POLL_S)
    restarts = {one["name"]: one["restarts"] for one in _status(port)["processes"]}
    if restarts[KILLED] != 1 or sum(restarts.values()) != 1:
        raise BenchError(f"only {KILLED} was to be replaced, once: {restarts}")


def resources(arm: SimulatorControl) -> list[dict[str, str]]:
    """A request for each resource of these services, in an order that is always the same."""
    found = []
    for subscription in arm.catalogue()["subscriptions"]:
        for service in (SERVICES[name] for name in SERVICE_NAMES):
            version = service.versions[0]
            of_all = service.example_path.replace("{subscriptionId}", subscription)
            found += [
                {
                    "service": service.name,
                    "api_version": version,
                    "method": "GET",
                    "resource_path": path,
                }
                for path in arm.expected(f"{of_all}?api-version={version}")["ids"]
            ]
    random.Random(SEED).shuffle(found)
    return found


def messages(requests: Iterator[dict[str, str]], count: int) -> Iterator[str]:
    """The next so many of the requests, in messages."""
    for _ in range(0, count, REQUESTS_PER_MESSAGE):
        of_message = list(itertools.islice(requests, REQUESTS_PER_MESSAGE))
        yield msgspec.json.encode({"api_requests": of_message}).decode()


def _status(port: int) -> dict[str, Any]:
    with NO_PROXY.open(f"http://127.0.0.1:{port}/status", None, ASK_LIMIT_S) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def _process(port: int, name: str) -> int:
    (pid,) = (one["pid"] for one in _status(port)["processes"] if one["name"] == name)
    return int(pid)


# ── programs ─────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _collector(folder: Path, settings: dict[str, str], port: int) -> Iterator[None]:
    work = folder / "collector"
    work.mkdir()
    program = [sys.executable, "-m", "pipeline"]
    environ = environment({**settings, "PYTHONPATH": str(Path(__file__).parents[1])})
    with _running(program, work, environ) as process:
        _await(f"http://127.0.0.1:{port}/readyz", process, work)
        yield


@contextmanager
def _prometheus(folder: Path, program: str, port: int, scraped_port: int) -> Iterator[None]:
    work = folder / "prometheus"
    work.mkdir()
    job = {
        "job_name": "azure-collector",
        "static_configs": [{"targets": [f"127.0.0.1:{scraped_port}"]}],
    }
    # JSON is YAML too.
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    (work / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
    arguments = [
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with _running([program, *arguments], work, environment({})) as process:
        _await(f"http://127.0.0.1:{port}/-/ready", process, work)
        yield


@contextmanager
def _running(
    command: Sequence[str], work: Path, environ: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with (
        (work / "output").open("wb") as output,
        subprocess.Popen(
            command, cwd=work, env=environ, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _await(url: str, process: subprocess.Popen[bytes], work: Path) -> None:
    deadline_s = time.monotonic() + READY_LIMIT_S
    while process.poll() is None and time.monotonic() < deadline_s:
        try:
            with NO_PROXY.open(url, None, ASK_LIMIT_S):
                return
        except OSError:
            time.sleep(POLL_S)
    said = (work / "output").read_text(encoding="utf-8", errors="replace")
    raise BenchError(f"{url} does not become ready; what was said:\n{said[-2000:]}")


if __name__ == "__main__":
    sys.exit(main())
