"""Which waiting batches go into Snowflake together."""

from __future__ import annotations

from collections.abc import Mapping

# Each batch is a memory map with three streams: a limit on open ones, however small they are.
JOIN_LIMIT = 256


def join_plan(waiting: Mapping[str, int], batch_bytes: int) -> list[str]:
    """The batches of the next load, oldest first.

    MERGEs wait for one another and each one scans the table, so few and large ones are cheaper.

    Args:
        waiting: sizes in bytes by batch id; ids sort by time.
        batch_bytes: all of them together stay within this, except that the oldest always goes.

    Returns:
        Batch ids; empty only if none is waiting. None is skipped to fit a later one in.
    """
    plan: list[str] = []
    total_bytes = 0
    for batch_id in sorted(waiting):
        total_bytes += waiting[batch_id]
        if plan and (total_bytes > batch_bytes or len(plan) == JOIN_LIMIT):
            break
        plan.append(batch_id)
    return plan
