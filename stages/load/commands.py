"""``azure-collector init-snowflake`` and ``azure-collector test-snowflake``."""

from __future__ import annotations

from pipeline.config import Config
from pipeline.errors import EXIT_DEPENDENCY, EXIT_DONE
from stages.load import context, migrations, schema
from stages.load.checks import run_checks
from stages.load.session import connect


def init_snowflake(config: Config, print_only: bool = False) -> int:
    """Create the tables and views that are missing, and bring those that are there up to date.

    Args:
        config: the SNOWFLAKE settings; with ``print_only`` not even these are needed.
        print_only: show the SQL and connect to nothing.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: a setting is missing.
        DependencyError: Snowflake cannot be reached or refuses.
    """
    if print_only:
        if config.snowflake_database and config.snowflake_schema:
            print(f"USE SCHEMA {config.snowflake_database}.{config.snowflake_schema};\n")
        print(migrations.script(), end="")
        return EXIT_DONE
    with connect(config) as session:
        context.require(config, session)
        absent = schema.missing(session)
        done = migrations.applied(session)
        if not migrations.is_newer(done):
            # Those that are recorded too: somebody may have dropped a view since.
            schema.update(session, migrations.migrations())
        schema.check(session)
    if migrations.is_newer(done):
        print(f"nothing done: the tables are of a newer version ({max(done)}) than this program")
        return EXIT_DONE
    for name in schema.OBJECTS:
        print(f"{name:<17} {'created' if name in absent else 'was there'}")
    for one in migrations.migrations():
        name = f"migration {one.version}"
        print(f"{name:<17} {'was there' if one.version in done else 'applied'} ({one.name})")
    return EXIT_DONE


def test_snowflake(config: Config) -> int:
    """Try all that a load needs and print each step.

    Returns:
        Exit code: 0 if every step passes, else 3.

    Raises:
        ConfigError: a setting is missing.
    """
    passed = True
    for check in run_checks(config):
        print(check.line(), flush=True)
        passed = passed and check.ok
    return EXIT_DONE if passed else EXIT_DEPENDENCY
