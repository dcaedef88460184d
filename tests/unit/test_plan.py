"""What a plan adds up: scopes, the least time, needed permissions, and how it is told."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.arm_limits import GRAPH, LIMITS, READS, WRITES, Scope, least_time_s, scope_of
from pipeline.commands.message_files import FileProblem, read_messages
from pipeline.commands.plan_command import MAX_REFUSED_SHOWN, plan, show
from pipeline.commands.planning import Plan, duration, plan_of
from pipeline.config import Config, load
from pipeline.errors import EXIT_CONFIG, EXIT_DEPENDENCY, EXIT_DONE, Unauthorised
from pipeline.messages import MICROSOFT_GRAPH
from pipeline.permissions import Access, Need, Permission, grants, matches, need_of

A = "aaaaaaaa-0000-4000-8000-000000000000"
B = "bbbbbbbb-0000-4000-8000-000000000000"
GRAPH_PATH = "/providers/Microsoft.ResourceGraph/resources"
COMPUTE = "Microsoft.Compute/virtualMachines"


def request(path: str, method: str = "GET", service: str = "compute") -> dict[str, Any]:
    return {
        "service": service,
        "api_version": "2024-07-01",
        "method": method,
        "resource_path": path,
    }


def vms(subscription: str) -> str:
    return f"/subscriptions/{subscription}/providers/{COMPUTE}"


def planned(calls: Mapping[Scope, int]) -> Plan:
    made = Plan(messages=1)
    made.calls.update(calls)
    made.by_service["compute"] = made.requests
    return made


def config(**settings: str) -> Config:
    return load(overrides=settings, environ={}, needs=())


def written(folder: Path, *messages: Any) -> str:
    file = folder / "messages.jsonl"
    file.write_text("\n".join(json.dumps({"api_requests": one}) for one in messages))
    return str(file)


# ── arithmetic ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("calls", "limit", "expected_s"),
    [
        (0, READS, 0),
        (250, READS, 0),
        (251, READS, 0.04),
        (1_000, READS, 30),
        (1_000, WRITES, 80),
        (15, GRAPH, 0),
        (30, GRAPH, 5),
        (1_000_000, None, 0),
    ],
)
def test_what_the_bucket_holds_goes_at_once_and_the_rest_as_it_refills(
    calls: int, limit: Any, expected_s: float
) -> None:
    assert least_time_s(calls, limit) == pytest.approx(expected_s)


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.sampled_from([READS, WRITES, GRAPH]))
def test_more_calls_never_take_less_time(one: int, more: int, limit: Any) -> None:
    assert least_time_s(one, limit) <= least_time_s(one + more, limit)
    assert least_time_s(one, limit) >= 0


@pytest.mark.parametrize(
    ("method", "target", "subscription", "scope"),
    [
        ("GET", vms(A), A, Scope(A, "reads")),
        ("HEAD", vms(A), A, Scope(A, "reads")),
        ("POST", vms(A) + "/v/instanceView", A, Scope(A, "writes")),
        ("POST", GRAPH_PATH, "", Scope("", "graph")),
        ("POST", f"/subscriptions/{A}{GRAPH_PATH.lower()}", A, Scope("", "graph")),
        ("GET", "/subscriptions", "", Scope("", "reads")),
    ],
)
def test_each_call_counts_in_its_scope(
    method: str, target: str, subscription: str, scope: Scope
) -> None:
    assert scope_of(method, target, subscription) == scope
    assert scope.kind in LIMITS


def test_microsoft_graph_counts_for_itself() -> None:
    scope = scope_of("GET", "/v1.0/users", "", MICROSOFT_GRAPH)
    assert scope == Scope("", "microsoft_graph")
    assert planned({scope: 10**6}).least_time_s() == 0


def test_the_slowest_scope_decides_and_others_do_not_add_to_it() -> None:
    reads, writes, graph = Scope(A, "reads"), Scope(B, "writes"), Scope("", "graph")
    made = planned({reads: 1_000, writes: 1_000, graph: 15, Scope(B, "reads"): 1_000})
    assert made.slowest() == writes
    assert made.least_time_s() == 80
    rows = {row.subscription_id: row for row in made.by_subscription()}
    assert list(rows) == [B, A, ""]
    assert (rows[A].least_time_s, rows[B].least_time_s, rows[""].least_time_s) == (30, 80, 0)
    assert (rows[B].calls, rows[B].kinds) == (2_000, {"writes": 1_000, "reads": 1_000})
    assert made.requests == 3_015


def test_where_all_goes_at_once_no_scope_decides() -> None:
    assert planned({Scope(A, "reads"): 250, Scope("", "graph"): 15}).slowest() is None
    assert Plan().least_time_s() == 0


def test_a_kind_without_a_known_limit_takes_no_time() -> None:
    assert planned({Scope("", "other"): 10**6}).least_time_s() == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.04, "1 s"),
        (30, "30 s"),
        (59.1, "1 min"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3_599.5, "1 h"),
        (7_500, "2 h 5 min"),
        (7_501, "2 h 6 min"),
        (86_399, "1 d"),
        (86_400 * 3 + 3_601, "3 d 2 h"),
    ],
)
def test_a_time_is_told_in_two_units_at_most_and_rounded_up(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# ── permissions ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "target", "need"),
    [
        ("GET", f"{vms(A)}?api-version=2024-07-01", (f"{COMPUTE}/read",)),
        (
            "HEAD",
            f"/subscriptions/{A}/resourceGroups/g/providers/{COMPUTE}/v/extensions/e",
            (f"{COMPUTE}/extensions/read",),
        ),
        (
            "GET",
            f"/subscriptions/{A}/resourceGroups/g/providers/{COMPUTE}/v/providers/"
            "Microsoft.Insights/metrics",
            ("Microsoft.Insights/metrics/read",),
        ),
        (
            "GET",
            f"/subscriptions/{A}/resourceGroups",
            ("Microsoft.Resources/subscriptions/resourceGroups/read",),
        ),
        ("GET", f"/subscriptions/{A}", ("Microsoft.Resources/subscriptions/read",)),
        (
            "POST",
            f"/subscriptions/{A}/providers/Microsoft.Storage/storageAccounts/s/listKeys",
            ("Microsoft.Storage/storageAccounts/listKeys/action",),
        ),
        (
            "POST",
            f"/subscriptions/{A}/providers/Microsoft.CostManagement/query",
            ("Microsoft.CostManagement/query/action", "Microsoft.CostManagement/query/read"),
        ),
        (
            "GET",
            f"/subscriptions/{A}/Providers/Microsoft.Sql%2Fservers",
            ("Microsoft.Sql/servers/read",),
        ),
    ],
)
def test_the_action_that_a_request_needs(method: str, target: str, need: Need) -> None:
    assert need_of(method, target) == need


@pytest.mark.parametrize(
    ("pattern", "action", "covered"),
    [
        ("*", f"{COMPUTE}/read", True),
        ("*/read", "MICROSOFT.Compute/virtualMachines/READ", True),
        ("*/read", f"{COMPUTE}/start/action", False),
        ("Microsoft.Compute/*/read", f"{COMPUTE}/extensions/read", True),
        ("Microsoft.Compute/*", "Microsoft.ComputeSchedule/x/read", False),
        (f"{COMPUTE}/read", f"{COMPUTE}/read", True),
        (f"{COMPUTE}/read", f"{COMPUTE}/extensions/read", False),
        ("Microsoft.Compute/*Compute/read", "Microsoft.Compute/read", False),
        ("*/a/*/b/*", "x/a/y/b/z", True),
        ("*/a/*/b/*", "x/b/y/a/z", False),
        ("", "x/read", False),
    ],
)
def test_a_star_covers_any_text(pattern: str, action: str, covered: bool) -> None:
    assert matches(pattern, action) is covered


def test_what_one_role_leaves_out_another_may_grant() -> None:
    reader = Permission(["*/read"], ["Microsoft.Compute/*"])
    vm_reader = Permission([f"{COMPUTE}/*"], [])
    need = (f"{COMPUTE}/read",)
    assert not grants([], need)
    assert not grants([reader], need)
    assert grants([reader, vm_reader], need)
    assert grants([reader], ("Microsoft.Cost/query/action", "Microsoft.Cost/query/read"))


# ── from messages to output ──────────────────────────────────────────────────────────────────────


def told(files: list[str], **options: Any) -> tuple[int, str]:
    out = io.StringIO()
    code = plan(options.pop("config", None) or config(), files, out=out, **options)
    return code, out.getvalue()


def test_calls_are_counted_by_subscription_and_service(tmp_path: Path) -> None:
    query = {**request(GRAPH_PATH, "POST", "resourcegraph"), "body": {"query": "Resources"}}
    file = written(
        tmp_path,
        [request(vms(A)), request(vms(A.upper())), request(vms(B)), query],
        [request("/subscriptions", service="subscriptions")],
    )
    made = plan_of(read_messages(file, as_base64=False, allow_writes=False), with_needs=True)
    assert (made.messages, made.requests, made.refused) == (2, 5, [])
    assert made.calls == {
        Scope(A, "reads"): 2,
        Scope(B, "reads"): 1,
        Scope("", "graph"): 1,
        Scope("", "reads"): 1,
    }
    assert made.by_service == {"compute": 3, "resourcegraph": 1, "subscriptions": 1}
    assert made.needs_by_calls() == {A: {(f"{COMPUTE}/read",)}, B: {(f"{COMPUTE}/read",)}}


def test_as_plain_text_it_is_aligned_and_as_json_it_says_the_same(tmp_path: Path) -> None:
    file = written(tmp_path, *[[request(vms(A))] * 250] * 4, [request(vms(B))])
    code, text = told([file])
    assert code == EXIT_DONE
    assert text.splitlines() == [
        "5 messages, 1,001 requests; none refused",
        "",
        "subscription                          calls  reads  least time",
        f"{A}  1,000  1,000        30 s",
        f"{B}      1      1         0 s",
        "all                                   1,001  1,001        30 s",
        "",
        "service  calls",
        "compute  1,001",
        "all      1,001",
        "",
        f"Least time: 30 s, for 1,000 reads in subscription {A}:",
        "Azure lets one identity make 250 at once and then 25 a second.",
        "A list takes one more call for each page after its first; retries, and the limits of the "
        "resource",
        "providers themselves, come on top.",
    ]
    code, text = told([file], as_json=True)
    data = json.loads(text)
    assert code == EXIT_DONE
    assert data["slowest_scope"] == {
        "subscription_id": A,
        "kind": "reads",
        "calls": 1_000,
        "bucket_size": 250.0,
        "refill_per_s": 25.0,
    }
    assert data["by_subscription"][0] == {
        "subscription_id": A,
        "calls": 1_000,
        "reads": 1_000,
        "writes": 0,
        "graph": 0,
        "microsoft_graph": 0,
        "least_time_s": 30.0,
    }
    assert (data["messages"], data["requests"], data["refused"]) == (5, 1_001, 0)
    assert data["by_service"] == {"compute": 1_001}
    assert data["access"] is None


def test_past_twenty_subscriptions_the_others_are_added_up() -> None:
    scopes = {Scope(f"{n:08x}-0000-4000-8000-000000000000", "reads"): 1_000 - n for n in range(25)}
    out = io.StringIO()
    show(planned(scopes), None, out)
    lines = out.getvalue().splitlines()
    assert len([line for line in lines if "-4000-8000-" in line and "reads in" not in line]) == 20
    (more,) = [line.split() for line in lines if line.startswith("and ")]
    assert more == ["and", "5", "more", "4,890", "4,890", "30", "s"]
    assert f"{sum(scopes.values()):,}" in next(line for line in lines if line.startswith("all "))


def test_on_a_terminal_it_is_drawn(tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    plan(config(), [written(tmp_path, [request(vms(A))])], out=out)
    assert "┃" in out.getvalue()
    assert A in out.getvalue()


def test_what_would_be_refused_is_told_with_place_and_reason(tmp_path: Path) -> None:
    write = request(vms(A) + "/v/deallocate", "POST")
    file = written(tmp_path, [request(vms(A))], [write])
    absent = str(tmp_path / "absent.json")
    code, text = told([file, absent])
    assert code == EXIT_CONFIG
    assert "1 message, 1 request; 2 refused" in text
    assert f"  {file}:2: write refused: api_requests[0]" in text
    assert f"  {absent}: cannot be read" in text
    code, text = told([file, absent], as_json=True)
    assert code == EXIT_CONFIG
    assert [one["place"] for one in json.loads(text)["refused_messages"]] == [f"{file}:2", absent]


def test_writes_are_taken_where_the_operator_or_the_caller_allows_them(tmp_path: Path) -> None:
    file = written(tmp_path, [request(vms(A) + "/v/deallocate", "POST")])
    for options in ({"config": config(ALLOW_WRITES="true")}, {"allow_writes": True}):
        code, text = told([file], **options)
        assert code == EXIT_DONE
        assert "writes" in text


def test_many_refused_messages_are_cut_short() -> None:
    beyond = MAX_REFUSED_SHOWN + 7
    out = io.StringIO()
    show(plan_of(FileProblem(f"f:{n}", "bad") for n in range(beyond)), None, out)
    assert out.getvalue().count(": bad") == MAX_REFUSED_SHOWN
    assert "and 7 more" in out.getvalue()


# ── access ───────────────────────────────────────────────────────────────────────────────────────


def test_access_is_asked_for_what_the_messages_need_and_decides_the_exit_code(
    tmp_path: Path,
) -> None:
    file = written(tmp_path, [request(vms(A)), request(vms(B)), request("/subscriptions")])
    asked: list[Mapping[str, Collection[Need]]] = []
    found: list[Access] = []

    def check(_: Config, needs: Mapping[str, Collection[Need]]) -> list[Access]:
        asked.append(needs)
        return found

    found[:] = [Access(A, "granted"), Access(B, "granted")]
    code, text = told([file], check_access=check)
    assert code == EXIT_DONE
    assert asked == [{A: {(f"{COMPUTE}/read",)}, B: {(f"{COMPUTE}/read",)}}]
    assert "granted in 2 of 2 subscriptions" in text

    found[:] = [Access(A, "missing", "", [f"{COMPUTE}/read"])]
    code, text = told([file], check_access=check)
    assert code == EXIT_DEPENDENCY
    assert f"{A}  missing  {COMPUTE}/read" in text
    assert "1 more subscription not asked" in text
    code, text = told([file], check_access=check, as_json=True)
    access = json.loads(text)["access"]
    assert (code, access["fine"], access["not_asked"]) == (EXIT_DEPENDENCY, False, 1)
    assert access["subscriptions"][0]["missing"] == [f"{COMPUTE}/read"]


def test_access_that_cannot_be_asked_for_leaves_the_plan(tmp_path: Path) -> None:
    def check(_: Config, __: Mapping[str, Collection[Need]]) -> list[Access]:
        raise Unauthorised("token", "AADSTS7000215")

    code, text = told([written(tmp_path, [request(vms(A))])], check_access=check)
    assert code == EXIT_DEPENDENCY
    assert "1 message, 1 request; none refused" in text
    assert "Access was not checked: token: AADSTS7000215" in text


def test_without_a_subscription_nothing_is_asked(tmp_path: Path) -> None:
    def check(_: Config, __: Mapping[str, Collection[Need]]) -> list[Access]:
        raise AssertionError

    file = written(tmp_path, [request("/subscriptions")])
    assert told([file], check_access=check)[0] == EXIT_DONE
