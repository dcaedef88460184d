"""The ARM simulator as a process, spoken to over sockets."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import selectors
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
import urllib3

from pipeline.errors import SandboxError
from pipeline.sandbox.arm.control import SimulatorControl

ROOT = Path(__file__).parents[2]
RECORDED = ROOT.parent / "shared" / "arm-recordings" / "recorded.jsonl"
TOKEN = "a-token"
V = "api-version=2024-07-01"
WAIT_S = 20
# What the simulator promises, so that it does not limit what is measured against it.
ANSWERS_PER_CORE_S = 5000


class Running(NamedTuple):
    """A simulator that serves."""

    process: subprocess.Popen[str]
    endpoint: str
    port: int
    control: SimulatorControl


@contextlib.contextmanager
def simulator(*arguments: str, context: ssl.SSLContext | None = None) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.sandbox.arm", "--vms", "30", *arguments],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        word, endpoint = process.stdout.readline().split()
        assert word == "ready"
        port = int(endpoint.rpartition(":")[2])
        yield Running(process, endpoint, port, SimulatorControl(endpoint, context))
    finally:
        process.terminate()
        try:
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with simulator("--subscriptions", "2", "--buckets", "off") as running:
        yield running


@pytest.fixture
def arm(shared: Running) -> Running:
    shared.control.reset()
    return shared


class Got(NamedTuple):
    """An answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def code(self) -> str:
        return str(self.json()["error"]["code"])


def call(
    arm: Running, target: str, method: str = "GET", body: Any = None, token: str | None = TOKEN,
    timeout_s: float = WAIT_S, **headers: str,
) -> Got:  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", arm.port, timeout=timeout_s)
    try:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        text = None if body is None else json.dumps(body)
        connection.request(method, target, text, headers)
        response = connection.getresponse()
        return Got(response.status, response.headers, response.read())
    finally:
        connection.close()


def subscription(arm: Running, number: int = 0) -> str:
    return str(arm.control.catalogue()["subscriptions"][number])


def vms(arm: Running) -> str:
    return f"/subscriptions/{subscription(arm)}/providers/Microsoft.Compute/virtualMachines?{V}"


def collect(arm: Running, target: str) -> list[str]:
    ids: list[str] = []
    link = arm.endpoint + target
    for _ in range(1000):
        assert link.startswith(f"{arm.endpoint}/")
        page = call(arm, link.removeprefix(arm.endpoint)).json()
        ids += [row.get("id") for row in page["value"]]
        if not (link := page.get("nextLink", "")):
            return ids
    raise AssertionError("the list has no end")


# -- the tenant over HTTP


def test_every_list_holds_what_the_simulator_says_it_holds(arm: Running) -> None:
    arm.control.settings(page_size=7)
    scope = f"/subscriptions/{subscription(arm)}"
    targets = ["/subscriptions", f"{scope}/resourceGroups", f"{scope}/resources"]
    for name, row in arm.control.catalogue()["types"].items():
        if row["level"] not in {"child", "plain"}:
            targets.append(f"{scope}/providers/{name}")
    for target in targets:
        expected = arm.control.expected(f"{target}?{V}")
        assert expected["status"] == 200, target
        assert collect(arm, f"{target}?{V}") == expected["ids"], target
        assert len(expected["ids"]) == expected["count"]


def test_headers_are_those_of_arm(arm: Running) -> None:
    got = call(arm, vms(arm), **{"x-ms-correlation-request-id": "mine"})
    assert got.status == 200
    assert got.headers["Content-Type"] == "application/json; charset=utf-8"
    assert got.headers["x-ms-ratelimit-remaining-subscription-reads"] == "249"
    assert got.headers["x-ms-ratelimit-remaining-subscription-global-reads"] == "3749"
    assert got.headers["x-ms-ratelimit-remaining-resource"].startswith(
        "Microsoft.Compute/HighCostGet3Min;"
    )
    assert got.headers["x-ms-correlation-request-id"] == "mine"
    assert len(got.headers["x-ms-request-id"]) == 36
    assert parsedate_to_datetime(got.headers["Date"]).tzinfo is not None


def test_the_tenants_own_bucket_is_told_for_requests_above_subscriptions(arm: Running) -> None:
    got = call(arm, f"/subscriptions?{V}")
    assert got.headers["x-ms-ratelimit-remaining-tenant-reads"] == "249"


def test_head_tells_whether_a_group_exists(arm: Running) -> None:
    scope = f"/subscriptions/{subscription(arm)}/resourceGroups"
    name = arm.control.catalogue()["resource_groups"][0]
    assert call(arm, f"{scope}/{name}?{V}", "HEAD").status == 204
    assert call(arm, f"{scope}/nope?{V}", "HEAD").status == 404


def test_read_actions(arm: Running) -> None:
    listed = arm.control.expected(
        f"/subscriptions/{subscription(arm)}/providers/Microsoft.Storage/storageAccounts?{V}"
    )
    got = call(arm, f"{listed['ids'][0]}/listKeys?{V}", "POST", {})
    assert got.status == 200
    assert [key["keyName"] for key in got.json()["keys"]] == ["key1", "key2"]
    assert "x-ms-ratelimit-remaining-subscription-writes" in got.headers


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_writes_are_refused(arm: Running, method: str) -> None:
    assert call(arm, vms(arm), method, {}).status == 405


def test_resource_graph_pages_hold_what_the_simulator_says(arm: Running) -> None:
    arm.control.settings(graph_page_size=9)
    target = "/providers/Microsoft.ResourceGraph/resources?api-version=2022-10-01"
    query = {"query": "Resources | where type =~ 'microsoft.compute/disks'", "options": {}}
    expected = arm.control.expected(target, "POST", query)
    ids: list[str] = []
    while True:
        got = call(arm, target, "POST", query)
        assert got.headers["x-ms-user-quota-resets-after"] == "00:00:05"
        ids += [row["id"] for row in got.json()["data"]]
        if "$skipToken" not in got.json():
            break
        query["options"] = {"$skipToken": got.json()["$skipToken"]}
    assert ids == expected["ids"]
    assert len(ids) == 120


@pytest.mark.parametrize(
    ("action", "has_status"), [("assessPatches", True), ("effectiveRouteTable", False)]
)
def test_long_actions(arm: Running, action: str, has_status: bool) -> None:
    kind = "Microsoft.Compute/virtualMachines"
    if not has_status:
        kind = "Microsoft.Network/networkInterfaces"
    target = f"/subscriptions/{subscription(arm)}/providers/{kind}?{V}"
    owner = arm.control.expected(target)["ids"][0]
    begun = call(arm, f"{owner}/{action}?{V}", "POST", {})
    assert begun.status == 202
    assert begun.headers["Retry-After"] == "1"
    assert ("Azure-AsyncOperation" in begun.headers) == has_status
    link = begun.headers["Azure-AsyncOperation"] or begun.headers["Location"]
    polls = [call(arm, link.removeprefix(arm.endpoint)) for _ in range(3)]
    if has_status:
        states = [poll.json()["status"] for poll in polls]
        assert states == ["InProgress", "InProgress", "Succeeded"]
    else:
        assert [poll.status for poll in polls] == [202, 202, 200]
    final = call(arm, begun.headers["Location"].removeprefix(arm.endpoint))
    assert final.status == 200
    assert final.json()


# -- access and throttling


def test_a_request_without_a_token_is_refused(arm: Running) -> None:
    got = call(arm, vms(arm), token=None)
    assert (got.status, got.code()) == (401, "AuthenticationFailed")
    assert got.headers["WWW-Authenticate"].startswith("Bearer authorization_uri=")


def test_accepted_tokens_change_while_it_runs(arm: Running) -> None:
    target = vms(arm)
    assert call(arm, target, token="old").status == 200
    arm.control.settings(tokens=["new"])
    got = call(arm, target, token="old")
    assert (got.status, got.code()) == (401, "InvalidAuthenticationToken")
    assert call(arm, target, token="new").status == 200


def test_an_empty_bucket_throttles_its_own_scope_only(arm: Running) -> None:
    arm.control.settings(buckets=True, bucket_size=3, bucket_refill=0.5)
    mine = vms(arm)
    other = mine.replace(subscription(arm), subscription(arm, 1))
    assert [call(arm, mine).status for _ in range(4)] == [200, 200, 200, 429]
    got = call(arm, mine)
    assert got.code() == "SubscriptionRequestsThrottled"
    assert 1 <= int(got.headers["Retry-After"]) <= 2
    assert got.headers["x-ms-ratelimit-remaining-subscription-reads"] == "0"
    assert call(arm, other).status == 200
    assert call(arm, mine, token="somebody else").status == 200


# -- faults


def with_fault(arm: Running, kind: str, **more: Any) -> str:
    target = vms(arm)
    arm.control.faults([{"kind": kind, "prefix": target, "first": 1, **more}])
    return target


def test_a_status_is_answered_as_often_as_told(arm: Running) -> None:
    target = with_fault(arm, "status", status=503, code="ServerTimeout", first=2)
    assert [call(arm, target).status for _ in range(3)] == [503, 503, 200]
    assert arm.control.stats()["faults"] == {"status": 2}


def test_a_throttle_tells_its_wait_as_a_date(arm: Running) -> None:
    got = call(arm, with_fault(arm, "throttle", form="date", retry_after_s=30))
    told = parsedate_to_datetime(got.headers["Retry-After"]).timestamp()
    assert got.status == 429
    assert 20 < told - time.time() < 40


def test_the_connection_is_reset_before_the_answer(arm: Running) -> None:
    target = with_fault(arm, "reset")
    with pytest.raises(ConnectionResetError):
        call(arm, target)
    assert call(arm, target).status == 200


def test_the_connection_is_reset_in_the_body(arm: Running) -> None:
    target = with_fault(arm, "reset_mid_body", after_bytes=100)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        call(arm, target)


def test_json_is_broken_with_a_length_that_fits(arm: Running) -> None:
    got = call(arm, with_fault(arm, "broken_json"))
    assert got.status == 200
    assert len(got.body) == int(got.headers["Content-Length"])
    with pytest.raises(json.JSONDecodeError):
        got.json()


def test_a_body_that_ends_too_soon(arm: Running) -> None:
    with pytest.raises(http.client.IncompleteRead):
        call(arm, with_fault(arm, "content_length", delta=10))


def test_a_body_that_runs_over_its_length(arm: Running) -> None:
    got = call(arm, with_fault(arm, "content_length", delta=-10))
    with pytest.raises(json.JSONDecodeError):
        got.json()


@pytest.mark.parametrize("after_bytes", [None, 50])
def test_a_stall_outlasts_a_clients_patience(arm: Running, after_bytes: int | None) -> None:
    target = with_fault(arm, "stall", stall_s=60, after_bytes=after_bytes)
    with pytest.raises(TimeoutError):
        call(arm, target, timeout_s=0.3)
    wait_until(lambda: arm.control.stats()["under_way"] == 0)


def test_a_short_stall_ends_with_the_whole_answer(arm: Running) -> None:
    whole = call(arm, vms(arm)).body
    assert call(arm, with_fault(arm, "stall", stall_s=0.05, after_bytes=50)).body == whole


def test_a_huge_body_is_sent_without_being_held(arm: Running) -> None:
    size = 20_000_000
    got = call(arm, with_fault(arm, "huge_body", body_bytes=size))
    assert len(got.body) == size
    assert len(got.json()["value"]) == 1


def test_a_client_that_leaves_a_huge_body_ends_it(arm: Running) -> None:
    target = with_fault(arm, "huge_body", body_bytes=4 * 2**30)
    with socket.create_connection(("127.0.0.1", arm.port), WAIT_S) as raw:
        raw.sendall(request(arm, target))
        assert raw.recv(1000)
    wait_until(lambda: arm.control.stats()["connections"] == 1)
    assert call(arm, target).status == 200


def test_a_next_link_to_another_origin(arm: Running) -> None:
    origin = "http://127.0.0.1.attacker.invalid:1"
    got = call(arm, with_fault(arm, "next_link", form="foreign", origin=origin))
    assert got.json()["nextLink"].startswith(f"{origin}/subscriptions/")


def test_a_redirect_to_another_origin(arm: Running) -> None:
    got = call(arm, with_fault(arm, "redirect", origin="https://elsewhere.invalid"))
    assert got.status == 302
    assert got.headers["Location"].startswith("https://elsewhere.invalid/subscriptions/")


def test_any_get_may_become_a_long_operation(arm: Running) -> None:
    target = vms(arm)
    whole = call(arm, target).json()
    arm.control.faults([{"kind": "operation", "prefix": target, "polls": 0, "result": "original"}])
    begun = call(arm, target)
    assert begun.status == 202
    state = call(arm, begun.headers["Azure-AsyncOperation"].removeprefix(arm.endpoint)).json()
    assert state["status"] == "Succeeded"
    assert call(arm, target).json() == whole


def test_latency_is_added(arm: Running) -> None:
    target = vms(arm)
    arm.control.settings(latency_ms=200)
    began_s = time.monotonic()
    assert call(arm, target).status == 200
    assert time.monotonic() - began_s >= 0.2


# -- connections


def request(arm: Running, target: str, extra: str = "") -> bytes:
    head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{arm.port}\r\n"
    return f"{head}Authorization: Bearer {TOKEN}\r\n{extra}\r\n".encode()


def read_answer(stream: Any) -> tuple[int, bytes]:
    status = int(stream.readline().split()[1])
    length = 0
    while (line := stream.readline().strip()) != b"":
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return status, stream.read(length)


def wait_until(holds: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_pipelined_requests_are_answered_in_their_order(arm: Running) -> None:
    base = vms(arm)
    # The first waits, so that the others could overtake it.
    arm.control.faults([{"kind": "latency", "regex": "top=1$", "latency_s": 0.2, "first": 1}])
    sizes = list(range(1, 31)) * 10
    with (
        socket.create_connection(("127.0.0.1", arm.port), WAIT_S) as raw,
        raw.makefile("rb") as stream,
    ):
        payload = b"".join(request(arm, f"{base}&$top={size}") for size in sizes)
        sender = threading.Thread(target=raw.sendall, args=(payload,))
        sender.start()
        found = [len(json.loads(read_answer(stream)[1])["value"]) for _ in sizes]
        sender.join(WAIT_S)
    assert found == sizes


def test_a_head_past_its_limit_is_refused(arm: Running) -> None:
    for extra in (f"X-A: {'a' * 70_000}\r\n", "".join(f"X-{i}: {i}\r\n" for i in range(9000))):
        with (
            socket.create_connection(("127.0.0.1", arm.port), WAIT_S) as raw,
            raw.makefile("rb") as stream,
            contextlib.suppress(ConnectionError),
        ):
            raw.sendall(request(arm, vms(arm), extra))
            assert read_answer(stream)[0] == 431
            assert stream.read(1) == b""


def test_a_body_past_its_limit_is_refused(arm: Running) -> None:
    with (
        socket.create_connection(("127.0.0.1", arm.port), WAIT_S) as raw,
        raw.makefile("rb") as stream,
    ):
        head = f"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {5 * 2**20}\r\n\r\n"
        with contextlib.suppress(ConnectionError):
            raw.sendall(head.encode() + b" " * (5 * 2**20))
        with contextlib.suppress(ConnectionError):
            assert read_answer(stream)[0] == 413


def test_what_is_not_http_is_refused(arm: Running) -> None:
    with (
        socket.create_connection(("127.0.0.1", arm.port), WAIT_S) as raw,
        raw.makefile("rb") as stream,
    ):
        raw.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert read_answer(stream)[0] == 400


def test_an_idle_connection_is_closed() -> None:
    with (
        simulator("--idle-timeout-s", "0.2") as running,
        socket.create_connection(("127.0.0.1", running.port), WAIT_S) as raw,
    ):
        assert raw.recv(1) == b""


def test_connections_past_the_limit_are_refused() -> None:
    with simulator("--max-connections", "2") as running:
        kept = [socket.create_connection(("127.0.0.1", running.port), WAIT_S) for _ in range(2)]
        try:
            with (
                socket.create_connection(("127.0.0.1", running.port), WAIT_S) as raw,
                raw.makefile("rb") as stream,
            ):
                assert read_answer(stream)[0] == 503
        finally:
            for each in kept:
                each.close()


def test_answers_are_compressed_for_those_who_take_it(arm: Running) -> None:
    target = vms(arm)
    plain = call(arm, target)
    arm.control.settings(gzip=True)
    got = call(arm, target, **{"Accept-Encoding": "gzip, deflate"})
    assert got.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(got.body) == plain.body
    assert call(arm, target).body == plain.body


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with simulator("--certfile", str(chain), "--keyfile", str(key)) as running:
        assert running.endpoint.startswith("https://127.0.0.1:")
        endpoint = f"https://localhost:{running.port}"
        ids = SimulatorControl(endpoint, context).catalogue()["subscriptions"]
        with urllib3.PoolManager(ssl_context=context) as pool:
            answer = pool.request(
                "GET",
                f"{endpoint}/subscriptions/{ids[0]}/resources?{V}",
                headers={"Authorization": f"Bearer {TOKEN}"},
            )
        assert answer.json()["nextLink"].startswith(f"{endpoint}/")


# -- control


@pytest.mark.parametrize(
    ("method", "what", "body", "problem"),
    [
        ("PUT", "faults", [{"kind": "nope"}], "Invalid value 'nope' - at `$[0].kind`"),
        ("PUT", "faults", {}, "Expected `array`, got `object`"),
        ("PUT", "settings", {"page_size": 0}, "Expected `int` >= 1 - at `$.page_size`"),
        ("PUT", "settings", {"colour": 1}, "Object contains unknown field `colour`"),
        ("PUT", "recordings", [{"path": "x"}], "path must begin with '/'"),
        ("POST", "expected", {}, "Object missing required field `target`"),
        ("GET", "expected", None, "takes ?target="),
    ],
)
def test_input_that_is_wrong_is_refused_with_the_problem(
    arm: Running, method: str, what: str, body: Any, problem: str
) -> None:
    got = call(arm, f"/_simulator/{what}", method, body)
    assert got.status == 400
    assert problem in got.json()["error"]["message"]


def test_the_client_raises_what_the_simulator_says(arm: Running) -> None:
    with pytest.raises(SandboxError, match="Invalid value 'nope'"):
        arm.control.faults([{"kind": "nope"}])


def test_the_client_says_that_nobody_answers() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        control = SimulatorControl(f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(SandboxError, match="did not answer"):
            control.stats()


def test_requests_are_counted_and_logged_without_the_token(arm: Running) -> None:
    target = vms(arm)
    arm.control.settings(log_requests=2)
    for _ in range(3):
        call(arm, target)
    call(arm, "/nothing")
    stats = arm.control.stats()
    assert stats["answers"] == 4
    assert stats["by_status"] == {"200": 3, "400": 1}
    assert stats["by_kind"]["GET Microsoft.Compute/virtualMachines list"] == 3
    assert [row["target"] for row in stats["requests"]] == [target, "/nothing"]
    assert stats["requests"][0]["authorized"] is True
    assert TOKEN not in json.dumps(stats)


def test_reset_is_as_at_the_start(arm: Running) -> None:
    target = vms(arm)
    start = arm.control.settings()
    arm.control.settings(page_size=1, buckets=True, latency_ms=1, tokens=[])
    arm.control.faults([{"kind": "reset"}])
    arm.control.recordings([{"path": target.partition("?")[0], "body": "{}"}])
    arm.control.reset()
    assert arm.control.settings() == start
    assert len(call(arm, target).json()["value"]) == 30
    assert arm.control.stats()["answers"] == 1


def test_recorded_traffic_is_served_as_it_was(arm: Running) -> None:
    if not RECORDED.exists():
        pytest.skip(f"the recorded traffic is not at {RECORDED}")
    rows = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    arm.control.recordings(
        {
            "method": row["method"],
            "path": row["path"],
            "query": row["query"],
            "status": row["status"],
            "headers": row["headers"],
            "body": json.dumps(row["body"]) if row["body"] != "" else None,
        }
        for row in rows
    )
    for row in rows:
        target = f"{row['path']}?{row['query']}"
        got = call(arm, target, row["method"], {} if row["method"] == "POST" else None)
        assert got.status == row["status"], target
        assert (got.json() if got.body else "") == row["body"], target


# -- the process


def test_it_stops_on_an_interrupt_with_connections_open() -> None:
    with (
        simulator() as running,
        socket.create_connection(("127.0.0.1", running.port), WAIT_S),
    ):
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(WAIT_S) == 0


def test_a_port_that_is_taken_is_said(arm: Running) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.sandbox.arm", "--port", str(arm.port)],
        capture_output=True, text=True, cwd=ROOT, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert f"cannot listen on port {arm.port}" in done.stderr


def test_a_wrong_setting_is_said() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.sandbox.arm", "--vms", "many"],
        capture_output=True, text=True, cwd=ROOT, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "vms" in done.stderr


def processor_s(process_id: int) -> float:
    text = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(text[11]) + int(text[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc for processor time")
def test_it_answers_fast_enough_not_to_limit_what_is_measured(arm: Running) -> None:
    """Processor time, not wall time, so that a busy machine does not fail it."""
    group = arm.control.catalogue()["resource_groups"][0]
    target = (
        f"/subscriptions/{subscription(arm)}/resourceGroups/{group}/providers/"
        f"Microsoft.Compute/virtualMachines/vm-00000?{V}"
    )
    arm.control.settings(buckets=True, bucket_size=1_000_000)
    sent = request(arm, target, "Accept: application/json\r\nUser-Agent: test\r\n")
    answers, connections = 10_000, 8
    began_s = processor_s(arm.process.pid)
    drive(arm.port, sent, answers, connections)
    spent_s = processor_s(arm.process.pid) - began_s
    assert arm.control.stats()["by_status"] == {"200": answers}
    assert answers / spent_s > ANSWERS_PER_CORE_S


def drive(port: int, sent: bytes, answers: int, connections: int) -> None:
    """Send one request on each connection after the other's answer, until all are answered."""
    left, length = answers - connections, 0
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            raw = socket.create_connection(("127.0.0.1", port), WAIT_S)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.sendall(sent)
            selector.register(raw, selectors.EVENT_READ, [b""])
        while selector.get_map():
            for key, _ in selector.select(WAIT_S):
                raw = key.fileobj  # type: ignore[assignment]
                key.data[0] += raw.recv(65536)
                head, _, body = key.data[0].partition(b"\r\n\r\n")
                length = length or int(head.partition(b"Content-Length: ")[2].split()[0])
                if len(body) < length:
                    continue
                key.data[0] = b""
                if left > 0:
                    left -= 1
                    raw.sendall(sent)
                else:
                    selector.unregister(raw)
                    raw.close()
