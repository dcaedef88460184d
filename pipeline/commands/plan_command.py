"""``azure-collector plan``: a collection rehearsed. Only ``--check-access`` calls anything."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TextIO

import msgspec

from pipeline.arm_limits import LIMITS, Scope
from pipeline.commands.message_files import read_messages
from pipeline.commands.planning import Plan, SubscriptionCalls, duration, plan_of
from pipeline.config import Config
from pipeline.errors import EXIT_CONFIG, EXIT_DEPENDENCY, EXIT_DONE, DependencyError
from pipeline.permissions import Access, Need

# Rows of a table that people read; what is beyond is added up.
MAX_ROWS = 20
# Refused messages that are shown to people.
MAX_REFUSED_SHOWN = 50
# Actions that are named in one line.
MAX_ACTIONS_SHOWN = 3

_TENANT = "(tenant)"
# Kinds of scope, for people.
_KINDS = {
    "reads": "reads",
    "writes": "writes",
    "graph": "Resource Graph queries",
    "microsoft_graph": "Microsoft Graph calls",
}
_CAVEATS = (
    "A list takes one more call for each page after its first; retries, and the limits of the "
    "resource\nproviders themselves, come on top."
)

CheckAccess = Callable[[Config, Mapping[str, Collection[Need]]], list[Access]]


@dataclass(frozen=True)
class AccessReport:
    """What ``--check-access`` found.

    Attributes:
        found: by subscription asked, the one with most calls first.
        not_asked: subscriptions beyond the limit.
        problem: why nothing could be asked, or None.
    """

    found: list[Access]
    not_asked: int = 0
    problem: str | None = None

    @property
    def fine(self) -> bool:
        """ARM answered, and nothing is missing."""
        return self.problem is None and all(one.state == "granted" for one in self.found)


def plan(
    config: Config,
    files: Sequence[str],
    *,
    allow_writes: bool = False,
    as_json: bool = False,
    check_access: CheckAccess | None = None,
    out: TextIO | None = None,
) -> int:
    """Tell what the messages of files would ask of Azure, how long it takes at least, and what
    would be refused.

    Args:
        config: ``ALLOW_WRITES``; with ``check_access`` also the identity and ARM.
        files: paths, ``-`` for standard input.
        allow_writes: also take POSTs that may write.
        as_json: one JSON object instead of tables.
        check_access: asks ARM for the identity's permissions; nothing is asked if None.
        out: where to; standard output if not given.

    Returns:
        0; 2 if a message would be refused or a file cannot be read; else 3 if the permissions
        could not be asked for or do not suffice.
    """
    out = out or sys.stdout
    writes = allow_writes or config.allow_writes
    items = (read_messages(file, as_base64=False, allow_writes=writes) for file in files)
    planned = plan_of(chain.from_iterable(items), with_needs=check_access is not None)
    access = _ask(check_access, config, planned) if check_access is not None else None
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(as_data(planned, access))).decode(), file=out)
    else:
        show(planned, access, out)
    if planned.refused_count:
        return EXIT_CONFIG
    return EXIT_DONE if access is None or access.fine else EXIT_DEPENDENCY


def _ask(check_access: CheckAccess, config: Config, planned: Plan) -> AccessReport:
    needs = planned.needs_by_calls()
    if not needs:
        return AccessReport([])
    try:
        found = check_access(config, needs)
    except DependencyError as error:
        return AccessReport([], problem=str(error))
    return AccessReport(found, not_asked=len(needs) - len(found))


# ── for machines ─────────────────────────────────────────────────────────────────────────────────


def as_data(planned: Plan, access: AccessReport | None) -> dict[str, Any]:
    """The whole plan as JSON has it; the tenant's subscription is null, times are in seconds."""
    slowest = planned.slowest()
    return {
        "messages": planned.messages,
        "requests": planned.requests,
        "refused": planned.refused_count,
        "least_time_s": round(planned.least_time_s(), 3),
        "slowest_scope": _scope_data(slowest, planned.calls[slowest]) if slowest else None,
        "by_subscription": [_subscription_data(row) for row in planned.by_subscription()],
        "by_service": dict(planned.by_service.most_common()),
        "refused_messages": [
            {"place": one.place, "problem": one.problem} for one in planned.refused
        ],
        "access": _access_data(access) if access is not None else None,
    }


def _scope_data(scope: Scope, calls: int) -> dict[str, Any]:
    limit = LIMITS[scope.kind]
    return {
        "subscription_id": scope.subscription_id or None,
        "kind": scope.kind,
        "calls": calls,
        "bucket_size": limit.size,
        "refill_per_s": limit.refill_per_s,
    }


def _subscription_data(row: SubscriptionCalls) -> dict[str, Any]:
    return {
        "subscription_id": row.subscription_id or None,
        "calls": row.calls,
        **{kind: row.kinds.get(kind, 0) for kind in _KINDS},
        "least_time_s": round(row.least_time_s, 3),
    }


def _access_data(access: AccessReport) -> dict[str, Any]:
    return {
        "fine": access.fine,
        "problem": access.problem,
        "not_asked": access.not_asked,
        "subscriptions": access.found,
    }


# ── for people ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Table:
    """Headings and rows; the columns from ``text_columns`` on hold numbers."""

    headings: list[str]
    rows: list[list[str]]
    text_columns: int = 1


def show(planned: Plan, access: AccessReport | None, out: TextIO) -> None:
    """Print the plan: tables on a terminal, aligned text elsewhere."""
    refused = f"{planned.refused_count:,} refused" if planned.refused_count else "none refused"
    messages, requests = _count(planned.messages, "message"), _count(planned.requests, "request")
    print(f"{messages}, {requests}; {refused}\n", file=out)
    tables = [_subscriptions(planned), _services(planned)] if planned.requests else []
    for table in tables:
        _print_table(table, out)
    _print_refused(planned, out)
    if planned.requests:
        print(f"Least time: {_least_time(planned)}\n{_CAVEATS}", file=out)
    if access is not None:
        _print_access(access, out)


def _subscriptions(planned: Plan) -> _Table:
    rows = planned.by_subscription()
    kinds = [kind for kind in _KINDS if any(kind in row.kinds for row in rows)]

    def line(name: str, some: Sequence[SubscriptionCalls]) -> list[str]:
        counts = [sum(row.kinds.get(kind, 0) for row in some) for kind in kinds]
        calls = sum(row.calls for row in some)
        longest_s = max(row.least_time_s for row in some)
        return [name, *(f"{number:,}" for number in (calls, *counts)), duration(longest_s)]

    lines = [line(row.subscription_id or _TENANT, [row]) for row in rows[:MAX_ROWS]]
    if len(rows) > MAX_ROWS:
        lines.append(line(f"and {len(rows) - MAX_ROWS:,} more", rows[MAX_ROWS:]))
    lines.append(line("all", rows))
    return _Table(["subscription", "calls", *kinds, "least time"], lines)


def _services(planned: Plan) -> _Table:
    services = planned.by_service.most_common()
    lines = [[name, f"{calls:,}"] for name, calls in services[:MAX_ROWS]]
    if len(services) > MAX_ROWS:
        beyond = services[MAX_ROWS:]
        lines.append([f"and {len(beyond):,} more", f"{sum(calls for _, calls in beyond):,}"])
    lines.append(["all", f"{planned.requests:,}"])
    return _Table(["service", "calls"], lines)


def _least_time(planned: Plan) -> str:
    slowest = planned.slowest()
    if slowest is None:
        return "0 s; Azure's limits let all of it go at once."
    calls, limit, kind = planned.calls[slowest], LIMITS[slowest.kind], _KINDS[slowest.kind]
    where = f"subscription {slowest.subscription_id}" if slowest.subscription_id else "the tenant"
    return (
        f"{duration(planned.least_time_s())}, for {calls:,} {kind} in {where}:\n"
        f"Azure lets one identity make {limit.size:g} at once and then {limit.refill_per_s:g} "
        "a second."
    )


def _print_refused(planned: Plan, out: TextIO) -> None:
    if not planned.refused_count:
        return
    print("Refused:", file=out)
    for one in planned.refused[:MAX_REFUSED_SHOWN]:
        print(f"  {one.place}: {one.problem}", file=out)
    if planned.refused_count > MAX_REFUSED_SHOWN:
        print(f"  and {planned.refused_count - MAX_REFUSED_SHOWN:,} more", file=out)
    print(file=out)


def _print_access(access: AccessReport, out: TextIO) -> None:
    print(file=out)
    if access.problem is not None:
        print(f"Access was not checked: {access.problem}", file=out)
        return
    lacking = [one for one in access.found if one.state != "granted"]
    if lacking:
        shown = [[one.subscription_id, one.state, _told(one)] for one in lacking[:MAX_ROWS]]
        if len(lacking) > MAX_ROWS:
            shown.append([f"and {len(lacking) - MAX_ROWS:,} more", "", ""])
        _print_table(_Table(["subscription", "access", "what"], shown, text_columns=3), out)
    granted = len(access.found) - len(lacking)
    asked = _count(len(access.found), "subscription")
    print(f"Access: all that is asked is granted in {granted:,} of {asked}.", file=out)
    if access.not_asked:
        print(f"{_count(access.not_asked, 'more subscription')} not asked.", file=out)
    if lacking:
        print(
            "A role on a resource group counts for what is in it, and is not seen here. Reader on "
            "the\nsubscription grants every read.",
            file=out,
        )


def _told(one: Access) -> str:
    names = ", ".join(one.missing[:MAX_ACTIONS_SHOWN])
    if len(one.missing) > MAX_ACTIONS_SHOWN:
        names += f" and {len(one.missing) - MAX_ACTIONS_SHOWN:,} more"
    return ": ".join(part for part in (one.detail, names) if part)


def _print_table(table: _Table, out: TextIO) -> None:
    if out.isatty():
        _print_rich(table, out)
    else:
        lines = [table.headings, *table.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = [
                cell.ljust(width) if number < table.text_columns else cell.rjust(width)
                for number, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            print("  ".join(cells).rstrip(), file=out)
    print(file=out)


def _print_rich(table: _Table, out: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table()
    for number, heading in enumerate(table.headings):
        is_text = number < table.text_columns
        drawn.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    for row in table.rows:
        # Text, because a value in brackets would be taken for markup.
        drawn.add_row(*map(Text, row))
    Console(file=out).print(drawn)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
