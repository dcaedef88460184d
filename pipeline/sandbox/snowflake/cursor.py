"""fakesnow's connection and cursor, with this package's pieces put in."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import snowflake.connector.errors as sf
from fakesnow.conn import FakeSnowflakeConnection
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.instance import FakeSnow
from sqlglot import exp

from pipeline.sandbox.snowflake import (
    ACCOUNT,
    ROLE,
    USER,
    access,
    errors,
    merge,
    rewrites,
    temporary,
    transactions,
    turns,
)

# What changes a table, so that a session must have its turn for it (DDL too).
_WRITES = (exp.Merge, exp.Insert, exp.Update, exp.Delete, exp.Copy, exp.TruncateTable)
# What commits an open transaction first, in Snowflake.
_DDL = (exp.Create, exp.Drop, exp.Alter, exp.Comment)
# What fakesnow keeps lists of, in tables that all sessions share.
_LISTED = (*_DDL, exp.Copy)
# A statement that is interrupted ends within this.
_ABORT_LIMIT_S = 10.0
# Answers kept for RESULT_SCAN; fakesnow itself keeps all for ever.
_KEPT_RESULTS = 10


class _Results(OrderedDict[str, Any]):
    """The latest answers by query id."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        while len(self) > _KEPT_RESULTS:
            self.popitem(last=False)


class Database(FakeSnow):
    """The sandbox's database: one DuckDB file, the sessions' transactions one after another.

    Args:
        folder: where the file is or comes to be.
        database: name of the database, and of the file.
        schema: made if it is not there.
    """

    def __init__(self, folder: Path, database: str, schema: str) -> None:
        super().__init__(db_path=folder)
        self.results_cache = _Results()
        self.turns = turns.WriteTurns()
        # fakesnow's lists of columns, stages and loaded files are tables too, and DuckDB fails the
        # second of two sessions that change the same row: so one of them at a time.
        self.lists = threading.Lock()
        self.sessions: dict[int, Session] = {}
        super().connect(database, schema).close()
        # From here on an unknown name is what it is in Snowflake: a session without a database.
        self.create_database_on_connect = self.create_schema_on_connect = False

    def connect(
        self,
        database: str | None = None,
        schema: str | None = None,
        nop_regexes: list[str] | None = None,
        **options: Any,
    ) -> Session:
        """Open a session; fakesnow's login calls this."""
        session = Session(
            self.duck_conn.cursor(),
            self.results_cache,
            database,
            schema,
            create_database=False,
            create_schema=False,
            db_path=self.db_path,
            nop_regexes=nop_regexes,
            server=self,
            **options,
        )
        self.sessions[session.session_id] = session
        return session

    def close(self) -> None:
        """Write everything to the file and let it go."""
        self.duck_conn.close()


class Session(FakeSnowflakeConnection):
    """One session: fakesnow's, with a role, a warehouse and its turn to write."""

    def __init__(self, *args: Any, server: Database, **options: Any) -> None:
        super().__init__(*args, **options)
        self.session_id = transactions.new_session_id()
        self.role = ROLE
        self.warehouse: str | None = None
        self.server = server
        self.transaction: transactions.Transaction | None = None
        self.writer = _writer(self)
        self.temporary = temporary.TemporaryTables()
        # Held by the statement that runs.
        self.statements = threading.RLock()

    def cursor(self, *_: Any, **__: Any) -> Cursor:
        """A cursor of ours."""
        return Cursor(self, self._duck_conn)

    def context(self, name: str) -> str | None:
        """What CURRENT_… says; see :func:`.rewrites.session_functions`."""
        return {
            "account": ACCOUNT,
            "session": str(self.session_id),
            "user": USER,
            "role": self.role,
            "warehouse": self.warehouse,
            "database": self.database if self.database_set else None,
            "schema": self.schema if self.schema_set else None,
        }[name]

    def end_transaction(self) -> None:
        """The transaction is over, whichever way."""
        self.transaction = None
        self.server.turns.release(self.writer)

    def abort_transaction(self, transaction_id: int) -> bool:
        """Roll a transaction back at another session's word, whatever it is doing.

        Returns:
            Whether it was running.
        """
        if self.transaction is None or self.transaction.id != transaction_id:
            return False
        self.server.turns.give_up(self.writer)
        self._duck_conn.interrupt()
        if not self.statements.acquire(timeout=_ABORT_LIMIT_S):
            raise turns.LockTimeout(turns.LockTimeout.__doc__)
        try:
            if self.transaction is not None and self.transaction.id == transaction_id:
                self._duck_conn.rollback()
                self.end_transaction()
        finally:
            self.statements.release()
        return True

    def close(self, retry: bool = True) -> None:
        """End the session; what it has not committed is gone, its temporary tables too."""
        super().close(retry)
        self.end_transaction()
        self.server.sessions.pop(self.session_id, None)


def _writer(session: Session) -> turns.Writer:
    def rollback() -> None:
        session._duck_conn.rollback()
        session.transaction = None

    return turns.Writer(rollback)


class Cursor(FakeSnowflakeCursor):
    """fakesnow's cursor; every error it raises is one of Snowflake's."""

    _conn: Session

    def execute(self, command: str, *args: Any, **options: Any) -> Cursor:
        """Run a statement.

        Raises:
            snowflake.connector.errors.Error: with Snowflake's code and SQLSTATE.
        """
        try:
            with self._conn.statements, self._conn.writer:
                super().execute(command, *args, **options)
        except Exception as error:
            # Whatever it is, the client must see an SQL error.
            raise errors.as_snowflake(error) from error
        finally:
            if self._conn.transaction is None:
                self._conn.end_transaction()
        return self

    def _transform_explode(self, expression: exp.Expression) -> list[exp.Expression]:
        # fakesnow would split a MERGE here.
        if isinstance(expression, exp.Merge):
            return [expression]
        parts: list[exp.Expression] = super()._transform_explode(expression)
        return parts

    def _transform(self, expression: exp.Expression, params: Any) -> exp.Expression:
        session = self._conn
        if (explained := rewrites.explained(expression)) is not None:
            self._transform(explained, params)  # rights and warehouse are looked at as for itself
            expression, params = rewrites.no_plan(), None
        expression = self._transactions(expression)
        access.check(expression, session.role, session.schema, session.temporary.names)
        access.need_warehouse(expression, session.warehouse)
        if isinstance(expression, exp.Use) and expression.text("kind").upper() == "WAREHOUSE":
            self._use_warehouse(expression.this.name)
        expression = rewrites.stage_reference(expression)
        expression = rewrites.parsed_json(expression)
        expression = rewrites.session_parameters(expression)
        expression = rewrites.grant(expression)
        expression = rewrites.session_functions(expression, session.context)
        transformed = super()._transform(expression, params)
        return rewrites.drop_stage(transformed, session.database, session.schema)

    def _transactions(self, expression: exp.Expression) -> exp.Expression:
        sessions = list(self._conn.server.sessions.values())
        if transactions.is_shown(expression):
            running = [s.transaction for s in sessions if s.transaction is not None]
            return transactions.listing(running)
        if (wanted := transactions.to_abort(expression)) is not None:
            found = any([session.abort_transaction(wanted) for session in sessions])
            return transactions.answer(wanted, found)
        return expression

    def _use_warehouse(self, name: str) -> None:
        self._conn.warehouse = access.warehouse(name)
        if self._conn.warehouse is None:
            raise sf.ProgrammingError(
                msg="Object does not exist, or operation cannot be performed.",
                errno=2043,
                sqlstate="02000",
            )

    def _execute(self, transformed: exp.Expression, params: Any = None) -> None:
        session = self._conn
        self._refuse_abandoned()
        if isinstance(transformed, exp.Transaction):
            session.transaction = session.transaction or transactions.Transaction(
                session.session_id
            )
        elif isinstance(transformed, _DDL) and session.transaction is not None:
            self._duck_conn.commit()
            session.end_transaction()
        if isinstance(transformed, _DDL + _WRITES) and not session.temporary.concerned(transformed):
            session.server.turns.take(session.writer)
        if isinstance(transformed, exp.Merge):
            transformed, params = merge.run(self._duck_conn, transformed), None
        listed = isinstance(transformed, _LISTED) or temporary.is_stage(transformed)
        with session.server.lists if listed else contextlib.nullcontext():
            super()._execute(transformed, params)
        session.temporary.note(transformed)
        if isinstance(transformed, (exp.Commit, exp.Rollback)):
            session.end_transaction()

    def _refuse_abandoned(self) -> None:
        if self._conn.writer.abandoned:
            self._conn.writer.abandoned = False
            raise sf.ProgrammingError(
                msg="Your transaction was rolled back: it was idle and kept others waiting.",
                errno=628,
                sqlstate="40000",
            )
