"""The sandbox's Snowflake: fakesnow's server on a DuckDB file, so that the real connector runs.

Everything the collector sends to Snowflake (login, ``write_pandas``, MERGE inside BEGIN and COMMIT)
goes through unchanged; what fakesnow lacks for it is added here, one file for each reason:

========================  ==========================================================================
:mod:`.access`            one account, user, warehouse and two roles, so that a wrong one is refused
:mod:`.cursor`            where the pieces below meet fakesnow: its cursor and connection
:mod:`.errors`            what DuckDB raises becomes Snowflake's code and SQLSTATE, never HTTP 500
:mod:`.merge`             MERGE as DuckDB's own MERGE, which works inside a transaction
:mod:`.rewrites`          statements that fakesnow does not take as the connector sends them
:mod:`.server`            the HTTP endpoints
:mod:`.temporary`         statements about one session's own objects, which wait for nobody
:mod:`.transactions`      SHOW TRANSACTIONS and SYSTEM$ABORT_TRANSACTION
:mod:`.turns`             one writer at a time, as Snowflake's table locks make it
========================  ==========================================================================

The data is one file, ``<folder>/<DATABASE>.db``. It stays after the run and opens with DuckDB:
``SELECT * FROM "<SCHEMA>"."RESOURCES"``; ``BODY`` is JSON there (``BODY->>'$.location'``). While
the server runs, DuckDB keeps the file locked: query through the connector instead.
"""

from __future__ import annotations

# What the sandbox's account is called, unless the command line says otherwise.
ACCOUNT = "SANDBOX"
USER = "SANDBOX"
WAREHOUSE = "SANDBOX_WH"
DATABASE = "AZURE"
SCHEMA = "COLLECTOR"
# May do everything.
ROLE = "SANDBOX"
# Environment variable with the user's password; unset takes any. No argument: those show in ps.
PASSWORD_VARIABLE = "SANDBOX_SNOWFLAKE_PASSWORD"  # noqa: S105 - a name
# May read and nothing else: for trying what a missing grant looks like.
READER_ROLE = "SANDBOX_READER"
