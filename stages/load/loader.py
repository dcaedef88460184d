"""Batches into Snowflake, whole and once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from pipeline.config import Config
from pipeline.errors import DependencyError, NotThere, Unauthorised, Unreachable
from pipeline.logs import log
from pipeline.spool import SealedBatch
from stages.load import context, failures, merge, proof, schema, staging, stale, unfit
from stages.load.note import SESSIONS_LIMIT, Note, abandoned_beside
from stages.load.reach import reach
from stages.load.session import Session, connect

# Snowflake rolls an idle transaction back after five minutes if another one waits for it, and a
# COMMIT after that is no error. A pause this long before COMMIT (a stopped process, a suspended
# machine) means the load is done again.
PAUSE_LIMIT_S = 60.0
# The folder is this collector's own: who still holds the note is a process of the one before, whose
# supervisor was killed. It ends by itself, and until then its transaction may be in the way.
PREDECESSOR_LIMIT_S = 3.0
# "Max LOB size exceeded": the text is within the limit, the VARIANT that it becomes is not
# (Snowflake's behaviour change 1779).
TOO_LARGE = 100082
LARGE = "Snowflake refuses the body: it is too large for a VARIANT"
# WRITE_MODE without a MERGE into RESOURCES.
APPEND = "append"
# Set-aside rows that get a log line of their own, for each load.
LOGGED_ROWS = 20
# How often Snowflake may refuse rows of one load before that is taken for an error: all that are
# not JSON are found at once, those whose VARIANT is too large one after the other.
REFUSALS_LIMIT = 20


@dataclass(frozen=True)
class Loaded:
    """What a load changed.

    Attributes:
        resources: rows that are new in RESOURCES; those that were there are not counted.
        requests: rows of REQUESTS that are new or replaced.
        set_aside: rows that Snowflake cannot take; each is in REJECTED_ROWS with its reason.
        staging_s: seconds for ``write_pandas``.
        merging_s: seconds from BEGIN to COMMIT.
        refused: these rows.
    """

    resources: int
    requests: int
    set_aside: int
    staging_s: float
    merging_s: float
    refused: Sequence[unfit.Unfit] = ()


@dataclass(frozen=True)
class Way:
    """How a load differs from one of whole batches.

    Attributes:
        by_key: rows are merged by ROW_KEY, whatever WRITE_MODE is: others of the same batch may be
            there already.
        keep: commit; else all of it is done and rolled back.
        aside: rows of these batches that an earlier load has set aside.
    """

    by_key: bool = False
    keep: bool = True
    aside: Sequence[unfit.Unfit] = ()


WHOLE = Way()


class Loader:
    """Loads sealed batches, one load at a time, over one session that it opens when it needs it.

    Args:
        config: the SNOWFLAKE settings, WRITE_MODE, DEDUPE_WINDOW, and the spool's folder for a
            note to the loader that comes after.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._session: Session | None = None
        self._note = Note(config.spool_dir)
        self._fingerprint = proof.fingerprint(config)
        self._told = unfit.Told()
        # The open session has not been checked: another was, a moment ago.
        self._trusting = False

    def open(self) -> None:
        """Connect, and make sure that the tables are there and may be written.

        Nothing happens if it is open. What an earlier session has left open is aborted, and what
        it has found good, or loaded into, a moment ago is not checked again.

        Raises:
            ConfigError: a setting is missing or the private key cannot be read.
            Unreachable: no answer; try again later.
            Unauthorised, NotThere: refused; a person must mend it.
        """
        if self._session is not None:
            return
        self._trusting = False
        session = connect(self._config)
        try:
            self._settle(session, PREDECESSOR_LIMIT_S)
            self._settle_beside(session)
            self._trusting = proof.holds(self._note.noted, self._fingerprint, time.time())
            if not self._trusting:
                context.require(self._config, session)
                schema.ensure(session)
                self._rehearse(session)
                self._prove()
        except BaseException:
            self._end(session)
            raise
        self._session = session

    def close(self) -> None:
        """End the session. Loading again opens another."""
        if self._session is not None:
            self._end(self._session)
            self._session = None
        self._note.leave()

    def ask(self) -> None:
        """See that Snowflake answers, between loads; no warehouse runs for it. Raises as `open`."""
        reach(self._config)  # the connector would try for a minute
        if self._session is not None and not self._session.alive():
            self._end(self._session)
            self._session = None
        self.open()

    def _end(self, session: Session) -> None:
        """End a session that has no transaction: of this one nothing needs to be noted."""
        session.close()
        others = _without(session.session_id, self._note.noted.sessions)
        if others:
            self._note.write(replace(self._note.noted, sessions=others))
        else:
            self._note.remove()

    def load(self, batches: Sequence[SealedBatch], way: Way = WHOLE) -> Loaded:
        """Load batches together: all of their rows are committed, or none.

        Args:
            batches: open ones; at least one.
            way: how, if they are not whole.

        Raises:
            Unreachable: the session, the way or the answer to COMMIT was lost. The session is
                closed; loading the same batches again is harmless, whether or not they are in.
            DependencyError: Snowflake refused (its other kinds too); the session is closed.
        """
        try:
            return self._in_session(batches, way)
        except (NotThere, Unauthorised):
            if not self._trusting:
                raise
            # It was there a moment ago. With the next session all of it is looked at again.
            return self._in_session(batches, way)

    def _in_session(self, batches: Sequence[SealedBatch], way: Way) -> Loaded:
        self.open()
        assert self._session is not None
        self._settle(self._session)
        try:
            loaded = self._load(self._session, batches, way)
        except BaseException as error:
            # Ending the session rolls back and drops what was staged, whatever state it is in. Its
            # note stays: nobody knows whether Snowflake has heard of the end.
            self._session.close()
            self._session = None
            if not isinstance(error, Unreachable):
                self._note.write(replace(self._note.noted, checked=""))
            raise
        self._prove()
        return loaded

    def _settle(self, session: Session, wait_s: float = 0.0) -> None:
        """Note that this session may have a transaction, and abort what earlier ones left open.

        Before each load: the process that held the note until now may have died meanwhile.
        """
        taken, own = self._note.take(wait_s), session.session_id
        sessions = self._note.noted.sessions
        if own is None or (own in sessions and not taken):
            return
        left = _without(own, sessions)
        if stale.abort(session, left):
            left = ()
        self._note.write(replace(self._note.noted, sessions=(*left, own)[-SESSIONS_LIMIT:]))

    def _settle_beside(self, session: Session) -> None:
        """Abort what the collectors have left open whose batches are adopted."""
        for other in abandoned_beside(self._config.spool_dir):
            if stale.abort(session, other.noted.sessions):
                other.remove()
            else:
                other.leave()

    def _prove(self) -> None:
        now_s = time.time()
        noted = replace(self._note.noted, checked=self._fingerprint, proven_s=now_s)
        self._note.write(noted)

    def _load(self, session: Session, batches: Sequence[SealedBatch], way: Way) -> Loaded:
        session.tag([batch.batch_id for batch in batches])
        resources, found = unfit.split(pa.concat_tables([batch.resources for batch in batches]))
        aside = [*way.aside, *found]
        requests = pa.concat_tables([batch.requests for batch in batches])
        start_s = time.monotonic()
        if resources.num_rows:
            staging.stage_rows(session, merge.STAGED_RESOURCES, resources)
        self._stage_told(session, requests, aside)
        staged_s = time.monotonic()
        statements = self._statements(resources, requests, way)
        for _ in range(REFUSALS_LIMIT):
            try:
                counts = _take_over(session, statements, aside, keep=way.keep)
                break
            except DependencyError as error:
                refused = _refused(session, error)
                if not refused:
                    raise
                aside += refused
                self._stage_told(session, requests, aside)
        else:
            problem = f"rows of one load were refused {REFUSALS_LIMIT} times"
            raise DependencyError(failures.WHAT, problem)
        if way.keep:
            self._told.committed(requests)
        refused = aside[len(way.aside) :]
        report(refused)
        return Loaded(
            resources=counts.get("RESOURCES", 0),
            requests=counts.get("REQUESTS", 0),
            set_aside=len(refused),
            staging_s=staged_s - start_s,
            merging_s=time.monotonic() - staged_s,
            refused=refused,
        )

    def _stage_told(
        self, session: Session, requests: pa.Table, aside: Sequence[unfit.Unfit]
    ) -> None:
        """Stage REQUESTS, which own up to rows that are set aside, and REJECTED_ROWS."""
        self._told.remember(aside)
        rejected = unfit.to_table(aside, datetime.now(UTC))
        for name, rows in (
            (merge.STAGED_REQUESTS, self._told.tell(requests)),
            (merge.STAGED_REJECTED, rejected),
        ):
            if rows.num_rows:
                staging.stage_rows(session, name, rows)

    def _statements(self, resources: pa.Table, requests: pa.Table, way: Way) -> dict[str, str]:
        """What fills each table. The ledger comes last: what it locks is held shortest."""
        oldest = [_least(rows, "ENQUEUED_AT") for rows in (resources, requests) if rows.num_rows]
        since = merge.look_back(min(oldest), self._config.dedupe_window) if oldest else None
        made = {}
        if resources.num_rows and self._config.write_mode == APPEND and not way.by_key:
            bounds = [_least(resources, name) for name in ("ENQUEUED_AT", "COLLECTED_AT")]
            made["RESOURCES"] = merge.append_resources(*bounds)
        elif resources.num_rows:
            made["RESOURCES"] = merge.merge_resources(since)
        made["REJECTED_ROWS"] = merge.merge_rejected(since)
        if requests.num_rows:
            made["REQUESTS"] = merge.merge_requests(since)
        return made

    def _rehearse(self, session: Session) -> None:
        """See that a load would be let: a missing right shows at the start, not when rows wait.

        EXPLAIN checks rights and columns as the statement itself does, and neither runs a warehouse
        nor waits for another collector's MERGE.
        """
        since = datetime.now(UTC)
        for name, columns in merge.STAGED.items():
            session.run(staging.table_sql(name, columns))
        if self._config.write_mode == APPEND:
            fill = merge.append_resources(since, since)
        else:
            fill = merge.merge_resources(since)
        for statement in (fill, merge.merge_requests(since)):
            session.run(f"EXPLAIN {statement}")
        try:
            session.run(f"EXPLAIN {merge.merge_rejected(since)}")
        except (NotThere, Unauthorised) as error:
            _warn_unkept(error)


def _without(own: int | None, sessions: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(other for other in sessions if other != own)


def _least(rows: pa.Table, column: str) -> datetime:
    least: datetime = pc.min(rows[column]).as_py()
    return least


def _take_over(
    session: Session, statements: dict[str, str], aside: Sequence[unfit.Unfit], *, keep: bool
) -> dict[str, int]:
    """Run what fills the tables in one transaction; return the rows each statement has changed.

    Rows that can be loaded do not wait until REJECTED_ROWS can be written: the others are logged,
    and REQUESTS says that they are missing.
    """
    without = {table: sql for table, sql in statements.items() if table != "REJECTED_ROWS"}
    if not aside:
        return _transaction(session, without, keep=keep) if without else {}
    try:
        return _transaction(session, statements, keep=keep)
    except (NotThere, Unauthorised) as error:
        session.run("ROLLBACK")
        changed = _transaction(session, without, keep=keep)
        _warn_unkept(error)
        return changed


def _transaction(session: Session, statements: dict[str, str], *, keep: bool) -> dict[str, int]:
    """Run statements in one transaction; return the rows each has changed."""
    changed = {}
    session.run("BEGIN TRANSACTION")
    answered_s = time.time()
    for table, sql in statements.items():
        _no_pause_since(answered_s)
        # Snowflake answers with one row: a count for each kind of action.
        changed[table] = sum(int(count) for count in session.run(sql)[0])
        answered_s = time.time()
    _no_pause_since(answered_s)
    session.run("COMMIT" if keep else "ROLLBACK")
    return changed


def _no_pause_since(answered_s: float) -> None:
    # By the wall clock: the monotonic one stands still while the machine is suspended.
    pause_s = time.time() - answered_s
    if pause_s > PAUSE_LIMIT_S:
        problem = f"this process stood still for {pause_s:.0f} s within a transaction"
        raise Unreachable(failures.WHAT, problem, "the batch is loaded again")


def _refused(session: Session, error: DependencyError) -> list[unfit.Unfit]:
    """Take the rows out of what is staged that Snowflake has refused; none if it is no row's fault.

    The transaction is rolled back.
    """
    code = failures.code_of(error)
    if code not in (failures.NOT_JSON, TOO_LARGE):
        return []
    session.run("ROLLBACK")
    which = merge.REFUSED if code == failures.NOT_JSON else merge.LARGEST
    found = [
        dict(zip(merge.DESCRIBED, row, strict=True))
        for row in session.run(merge.staged_rows(which))
    ]
    session.run(merge.remove_staged(which))
    return [
        unfit.unfit(row, unfit.why_refused(row["BODY"]) if code == failures.NOT_JSON else LARGE)
        for row in found
    ]


def _warn_unkept(error: DependencyError) -> None:
    log.bind(action="rejected_rows_unkept").warning(
        "REJECTED_ROWS cannot be written: rows that cannot be loaded are only logged: {}", error
    )


def report(aside: Sequence[unfit.Unfit]) -> None:
    """Say that these rows are set aside."""
    for row in aside[:LOGGED_ROWS]:
        log.bind(
            action="row_set_aside", row_key=row.row_key, batch_id=row.batch_id, reason=row.reason
        ).error("A row cannot be loaded and is left out")
    if len(aside) > LOGGED_ROWS:
        more = len(aside) - LOGGED_ROWS
        log.bind(action="row_set_aside", rows=more).error("More rows cannot be loaded")
