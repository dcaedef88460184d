"""What a run came to, in numbers."""

from __future__ import annotations

from pipeline.metrics.series import by_label, by_name, series_of
from pipeline.supervisor import Supervisor

OUTCOMES = ("complete", "not_found", "forbidden", "rejected", "throttled", "failed")

DELETED = series_of("messages_finished_total", "deleted")
POISONED = series_of("messages_finished_total", "poisoned")
ROWS = series_of("rows_loaded_total", "RESOURCES")


def summary_fields(supervisor: Supervisor) -> dict[str, float]:
    """The run in numbers."""
    totals = supervisor.totals()
    names = by_name(totals)
    outcomes = by_label(totals, "requests_total", "outcome")
    fields = {
        "seconds": round(supervisor.seconds, 1),
        "messages": totals[DELETED],
        "poisoned": totals[POISONED],
        "requests": names["requests_total"],
        **{name: outcomes[name] for name in OUTCOMES if outcomes[name]},
        "calls": names["calls_total"],
        "throttled_calls": names["throttled_total"],
        "rows_loaded": totals[ROWS],
        "batches": totals["batches_loaded_total"],
        "restarts": float(sum(child.restarts for child in supervisor.children.values())),
    }
    return {name: int(value) if name != "seconds" else value for name, value in fields.items()}
