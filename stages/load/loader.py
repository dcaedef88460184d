"""Batches into Snowflake, whole and once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import tables
from pipeline.config import Config
from pipeline.errors import DependencyError, Unreachable
from pipeline.logs import log
from pipeline.spool import SealedBatch
from stages.load import context, failures, merge, schema, staging, unfit
from stages.load.session import Session, connect

# Snowflake rolls an idle transaction back after five minutes if another one waits for it, and a
# COMMIT after that is no error. A pause this long before COMMIT (a stopped process, a suspended
# machine) means the load is done again.
PAUSE_LIMIT_S = 60.0
# Set-aside rows that get a log line of their own, for each load.
LOGGED_ROWS = 20


@dataclass(frozen=True)
class Loaded:
    """What a load changed.

    Attributes:
        resources: rows that are new in RESOURCES; those that were there are not counted.
        requests: rows of REQUESTS that are new or replaced.
        set_aside: rows that Snowflake cannot take; each is logged with its reason.
        staging_s: seconds for ``write_pandas``.
        merging_s: seconds from BEGIN to COMMIT.
    """

    resources: int
    requests: int
    set_aside: int
    staging_s: float
    merging_s: float


class Loader:
    """Loads sealed batches, one load at a time, over one session that it opens when it needs it.

    Args:
        config: the SNOWFLAKE settings and DEDUPE_WINDOW.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._session: Session | None = None
        self._rehearsed = False

    def open(self) -> None:
        """Connect, and make sure that the tables are there and may be written.

        Nothing happens if it is open.

        Raises:
            ConfigError: a setting is missing or the private key cannot be read.
            Unreachable: no answer; try again later.
            Unauthorised, NotThere: refused; a person must mend it.
        """
        if self._session is not None:
            return
        session = connect(self._config)
        try:
            context.require(self._config, session)
            schema.ensure(session)
            if not self._rehearsed:
                _rehearse(session)
                self._rehearsed = True
        except BaseException:
            session.close()
            raise
        self._session = session

    def close(self) -> None:
        """End the session. Loading again opens another."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def load(self, batches: Sequence[SealedBatch]) -> Loaded:
        """Load batches together: all of their rows are committed, or none.

        Args:
            batches: open ones; at least one.

        Raises:
            Unreachable: the session, the way or the answer to COMMIT was lost. The session is
                closed; loading the same batches again is harmless, whether or not they are in.
            DependencyError: Snowflake refused (its other kinds too); the session is closed.
        """
        self.open()
        assert self._session is not None
        try:
            return self._load(self._session, batches)
        except BaseException:
            # Ending the session rolls back and drops what was staged, whatever state it is in.
            self.close()
            raise

    def _load(self, session: Session, batches: Sequence[SealedBatch]) -> Loaded:
        resources, aside = unfit.split(pa.concat_tables([batch.resources for batch in batches]))
        requests = pa.concat_tables([batch.requests for batch in batches])
        requests = unfit.tell_ledger(requests, aside)
        start_s = time.monotonic()
        for name, rows in (
            (merge.STAGED_RESOURCES, resources),
            (merge.STAGED_REQUESTS, requests),
        ):
            if rows.num_rows:
                staging.stage_rows(session, name, rows)
        staged_s = time.monotonic()
        statements = _statements(resources, requests, self._config.dedupe_window)
        try:
            counts = _transaction(session, statements)
        except DependencyError as error:
            if failures.code_of(error) != failures.NOT_JSON:
                raise
            session.run("ROLLBACK")
            refused = _remove_refused(session)
            aside += refused
            if requests.num_rows:
                requests = unfit.tell_ledger(requests, refused)
                staging.stage_rows(session, merge.STAGED_REQUESTS, requests)
            counts = _transaction(session, statements)
        _report(aside)
        return Loaded(
            resources=counts.get("RESOURCES", 0),
            requests=counts.get("REQUESTS", 0),
            set_aside=len(aside),
            staging_s=staged_s - start_s,
            merging_s=time.monotonic() - staged_s,
        )


def _rehearse(session: Session) -> None:
    """See that a load would be let: a missing right shows at the start, not when rows wait.

    EXPLAIN checks rights and columns as the statement itself does, and neither runs a warehouse nor
    waits for another collector's MERGE.
    """
    since = datetime.now(UTC)
    for name, columns in (
        (merge.STAGED_RESOURCES, tables.RESOURCES),
        (merge.STAGED_REQUESTS, tables.REQUESTS),
    ):
        session.run(staging.table_sql(name, columns))
    for statement in (merge.merge_resources(since), merge.merge_requests(since)):
        session.run(f"EXPLAIN {statement}")


def _statements(resources: pa.Table, requests: pa.Table, dedupe_window_s: float) -> dict[str, str]:
    """The MERGE of each table that has rows to take."""
    oldest = [_oldest(rows) for rows in (resources, requests) if rows.num_rows]
    if not oldest:
        return {}
    since = merge.look_back(min(oldest), dedupe_window_s)
    made = {}
    if resources.num_rows:
        made["RESOURCES"] = merge.merge_resources(since)
    if requests.num_rows:
        made["REQUESTS"] = merge.merge_requests(since)
    return made


def _oldest(rows: pa.Table) -> datetime:
    oldest: datetime = pc.min(rows["ENQUEUED_AT"]).as_py()
    return oldest


def _transaction(session: Session, statements: dict[str, str]) -> dict[str, int]:
    """Run MERGEs in one transaction; return the rows each has changed."""
    changed = {}
    session.run("BEGIN TRANSACTION")
    answered_s = time.time()
    for table, sql in statements.items():
        _no_pause_since(answered_s)
        # Snowflake answers with one row: a count for each kind of action.
        changed[table] = sum(int(count) for count in session.run(sql)[0])
        answered_s = time.time()
    _no_pause_since(answered_s)
    session.run("COMMIT")
    return changed


def _no_pause_since(answered_s: float) -> None:
    # By the wall clock: the monotonic one stands still while the machine is suspended.
    pause_s = time.time() - answered_s
    if pause_s > PAUSE_LIMIT_S:
        problem = f"this process stood still for {pause_s:.0f} s within a transaction"
        raise Unreachable(failures.WHAT, problem, "the batch is loaded again")


def _remove_refused(session: Session) -> list[unfit.Unfit]:
    found = session.run(merge.REFUSED_ROWS)
    session.run(merge.REMOVE_REFUSED_ROWS)
    return [
        unfit.Unfit(str(key), str(message), int(index), str(batch), "body is not JSON")
        for key, message, index, batch in found
    ]


def _report(aside: list[unfit.Unfit]) -> None:
    for row in aside[:LOGGED_ROWS]:
        log.bind(
            action="row_set_aside", row_key=row.row_key, batch_id=row.batch_id, reason=row.reason
        ).error("A row cannot be loaded and is left out")
    if len(aside) > LOGGED_ROWS:
        more = len(aside) - LOGGED_ROWS
        log.bind(action="row_set_aside", rows=more).error("More rows cannot be loaded")
