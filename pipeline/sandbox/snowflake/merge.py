"""MERGE as DuckDB's own.

fakesnow splits a MERGE into a temporary table and one statement a clause, parsed from text without
its dialect. DuckDB 2 has MERGE itself: one statement, all or nothing, also inside a transaction.
"""

from __future__ import annotations

from collections import Counter

import duckdb
from fakesnow.transforms.merge import operations
from sqlglot import exp

# What DuckDB calls an action, and what Snowflake calls the rows it counts.
_ACTIONS = {"inserted": "INSERT", "updated": "UPDATE", "deleted": "DELETE"}


def run(connection: duckdb.DuckDBPyConnection, merge: exp.Merge) -> exp.Expression:
    """Run a MERGE that fakesnow has already transformed for DuckDB.

    Returns:
        A SELECT with the row counts Snowflake answers with: a column for each kind of action that
        the statement's clauses can take.
    """
    sql = merge.sql(dialect="duckdb") + " RETURNING merge_action"
    done = Counter(action for (action,) in connection.execute(sql).fetchall())
    counts = exp.select(
        *(
            exp.alias_(
                exp.Literal.number(done[_ACTIONS[name]]), f"number of rows {name}", quoted=True
            )
            for name, clauses in operations(merge).items()
            if clauses
        )
    )
    counts.set("merge_counts", True)  # fakesnow's cursor adds them up for the row count
    return counts
