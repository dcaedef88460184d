"""A status as tables, for a terminal and for plain text alike."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.ops import status as shown

MAX_EVENTS = 10
MAX_SCOPES = 10
BAR_CHARS = 20
_STYLES = {"ready": "green", "starting": "yellow", "silent": "red", "down": "red"}
_STATES = {"collecting": "green", "starting": "yellow", "draining": "yellow"}
_LEVELS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def view(status: shown.Status) -> RenderableType:
    """All of it, the most wanted first."""
    parts: list[RenderableType] = [_head(status), _figures(status), _processes(status.processes)]
    if status.scopes:
        parts.append(_scopes(status.scopes))
    if status.slowest_services:
        parts.append(_services(status))
    if status.recent_errors:
        parts.append(_events(status.recent_errors))
    return Group(*parts)


def _head(status: shown.Status) -> Text:
    head = Text("azure-collector ", style="bold").append(status.version)
    head.append(f" on {_clean(status.host)} (pid {status.pid})  ", style="not bold")
    head.append(status.state, style=_STATES.get(status.state, ""))
    head.append(f"  up {duration(status.uptime_s)}", style="not bold")
    if status.profile:
        head.append(f"  profile {_clean(status.profile)}", style="not bold")
    return head


def _figures(status: shown.Status) -> Table:
    queue, rates, load = status.queue, status.rates, status.last_load
    reached = ", ".join(
        f"{one.name} {'ok' if one.ready else 'AWAY'}" for one in status.dependencies
    )
    rows = {
        "a second": f"{rates.messages:g} messages, {rates.calls:g} calls, {rates.rows:g} rows",
        "queue": f"{_or_unknown(queue.messages)} messages, {_or_unknown(queue.poison_messages)} "
        f"poison; oldest {_duration_or_unknown(queue.oldest_age_s)}; "
        f"empty in {_duration_or_unknown(queue.seconds_to_empty)}",
        "in flight": f"{status.in_flight.messages} messages, {status.in_flight.requests} requests "
        f"(and {status.in_flight.requests_waiting} waiting), {status.in_flight.calls} calls",
        "spool": f"{status.spool.batches} batches, {size(status.spool.bytes)} of "
        f"{size(status.spool.limit_bytes)}",
        "last load": f"{load.at or 'none yet'}, took {load.seconds:g} s; failures since: "
        f"{load.failures}",
        "reachable": reached,
    }
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, said in rows.items():
        table.add_row(Text(name, style="dim"), Text(said))
    return table


def _processes(processes: list[shown.Process]) -> Table:
    table = _table(
        "process", "pid", "state", "restarts", "heartbeat", "cpu", "memory", "last death"
    )
    for one in processes:
        died = f"{one.last_died_at}: {one.last_cause}" if one.last_died_at else ""
        table.add_row(
            Text(_clean(one.name)),
            str(one.pid or ""),
            Text(one.state, style=_STYLES.get(one.state, "")),
            str(one.restarts),
            f"{one.heartbeat_age_s:.1f} s",
            f"{one.cpu_s:.1f} s",
            size(one.memory_bytes),
            Text(_clean(died)),
        )
    return table


def _scopes(scopes: list[shown.Scope]) -> Table:
    table = _table("calls left", "of", "level", "paused", "scope", "process")
    for one in scopes[:MAX_SCOPES]:
        full = round(BAR_CHARS * min(1.0, (one.left or 0.0) / one.size)) if one.size else 0
        table.add_row(
            _or_unknown(one.left),
            _or_unknown(one.size),
            "█" * full + "░" * (BAR_CHARS - full) if one.size else "",
            f"{one.paused_s:.0f} s" if one.paused_s else "",
            Text(_clean(f"{one.kind} {one.id}")),
            Text(_clean(one.process)),
        )
    return table


def _services(status: shown.Status) -> Table:
    table = _table("slowest services", "calls", "mean", "95 %")
    for one in status.slowest_services:
        table.add_row(
            Text(_clean(one.service)), str(one.calls), f"{one.mean_s:.3f} s", f"{one.p95_s:.3f} s"
        )
    return table


def _events(events: list[shown.Event]) -> Table:
    table = _table("recent errors", "process", "action", "")
    for one in events[-MAX_EVENTS:]:
        style = _LEVELS.get(one.level, "")
        said = Text(_clean(one.message), style=style, overflow="ellipsis", no_wrap=True)
        table.add_row(one.at, Text(_clean(one.process)), Text(_clean(one.action)), said)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.title = None
    for column in columns:
        table.add_column(column)
    return table


def _clean(text: str) -> str:
    """Text that a terminal takes for text: what came from outside may hold escapes."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _or_unknown(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"


def _duration_or_unknown(seconds: float | None) -> str:
    return "?" if seconds is None else duration(seconds)


def duration(seconds: float) -> str:
    """For people: the two largest units."""
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def size(amount: float) -> str:
    """Bytes for people."""
    for unit in _UNITS[:-1]:
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} {_UNITS[-1]}"
