"""fakesnow's connection and cursor, with this package's pieces put in."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import snowflake.connector.errors as sf
from fakesnow.conn import FakeSnowflakeConnection
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.instance import FakeSnow
from sqlglot import exp

from pipeline.sandbox.snowflake import ACCOUNT, ROLE, USER, access, errors, merge, rewrites, turns

# What changes a table, so that a session must have its turn for it (DDL too).
_WRITES = (exp.Merge, exp.Insert, exp.Update, exp.Delete, exp.Copy, exp.TruncateTable)
# What commits an open transaction first, in Snowflake.
_DDL = (exp.Create, exp.Drop, exp.Alter, exp.Comment)
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
        return Session(
            self.duck_conn.cursor(),
            self.results_cache,
            database,
            schema,
            create_database=False,
            create_schema=False,
            db_path=self.db_path,
            nop_regexes=nop_regexes,
            turns=self.turns,
            **options,
        )

    def close(self) -> None:
        """Write everything to the file and let it go."""
        self.duck_conn.close()


class Session(FakeSnowflakeConnection):
    """One session: fakesnow's, with a role, a warehouse and its turn to write."""

    def __init__(self, *args: Any, turns: turns.WriteTurns, **options: Any) -> None:
        super().__init__(*args, **options)
        self.role = ROLE
        self.warehouse: str | None = None
        self.turns = turns
        self.in_transaction = False
        self.writer = _writer(self)

    def cursor(self, *_: Any, **__: Any) -> Cursor:
        """A cursor of ours."""
        return Cursor(self, self._duck_conn)

    def context(self, name: str) -> str | None:
        """What CURRENT_… says; see :func:`.rewrites.session_functions`."""
        return {
            "account": ACCOUNT,
            "user": USER,
            "role": self.role,
            "warehouse": self.warehouse,
            "database": self.database if self.database_set else None,
            "schema": self.schema if self.schema_set else None,
        }[name]

    def end_transaction(self) -> None:
        """The transaction is over, whichever way."""
        self.in_transaction = False
        self.turns.release(self.writer)

    def close(self, retry: bool = True) -> None:
        """End the session; what it has not committed is gone, its temporary tables too."""
        super().close(retry)
        self.end_transaction()


def _writer(session: Session) -> turns.Writer:
    def rollback() -> None:
        session._duck_conn.rollback()
        session.in_transaction = False

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
            with self._conn.writer:
                super().execute(command, *args, **options)
        except Exception as error:
            # Whatever it is, the client must see an SQL error.
            raise errors.as_snowflake(error) from error
        finally:
            if not self._conn.in_transaction:
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
        access.check(expression, session.role, session.schema)
        access.need_warehouse(expression, session.warehouse)
        if isinstance(expression, exp.Use) and expression.text("kind").upper() == "WAREHOUSE":
            self._use_warehouse(expression.this.name)
        expression = rewrites.stage_reference(expression)
        expression = rewrites.session_parameters(expression)
        expression = rewrites.session_functions(expression, session.context)
        transformed = super()._transform(expression, params)
        return rewrites.drop_stage(transformed, session.database, session.schema)

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
            session.in_transaction = True
        elif isinstance(transformed, _DDL) and session.in_transaction:
            self._duck_conn.commit()
            session.end_transaction()
        if isinstance(transformed, _DDL + _WRITES):
            session.turns.take(session.writer)
        if isinstance(transformed, exp.Merge):
            transformed, params = merge.run(self._duck_conn, transformed), None
        super()._execute(transformed, params)
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
