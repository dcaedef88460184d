"""``.env``, unknown names and near misses."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import Config, load, sources
from pipeline.errors import ConfigError


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def read(env_file: Path, **environ: str) -> Config:
    return load(environ=environ, env_file=env_file, needs=())


def problems(env_file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(env_file)
    return caught.value.problems


def test_a_missing_env_file_is_empty(env_file: Path) -> None:
    assert read(env_file).batch_size == 1000


def test_comments_quotes_export_and_line_ends(env_file: Path) -> None:
    env_file.write_bytes(
        b"\xef\xbb\xbf# comment\r\nexport BATCH_SIZE='5' # five\r\n"
        b'SNOWFLAKE_PRIVATE_KEY="line 1\nline 2"\nNUM_THREADS=\n'
    )
    config = read(env_file)
    assert config.batch_size == 5
    assert config.snowflake_private_key == "line 1\nline 2"
    assert config.num_threads == 25


@pytest.mark.parametrize("value", ["pa${HOME}ss", "$HOME", "a=b", "tick`s"])
def test_a_value_is_taken_as_it_stands(env_file: Path, value: str) -> None:
    env_file.write_text(f"SNOWFLAKE_PASSWORD={value}\n")
    assert read(env_file, HOME="/root").snowflake_password == value


def test_other_programs_variables_are_left_alone(env_file: Path) -> None:
    env_file.write_text("COMPOSE_PROJECT_NAME=x\nAZURE_SUBSCRIPTION_ID=y\nSNOWFLAKE_HOME=/z\n")
    assert not read(env_file).warnings


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BATCH_SIZ", "BATCH_SIZE"),
        ("SNOWFLAKE_USERNAME", "SNOWFLAKE_USER"),
        ("SNOWFLAKE_PRIVATE_KEYFILE", "SNOWFLAKE_PRIVATE_KEY_FILE"),
        ("AZURE_QUEUE_CONNECTIONSTRING", "AZURE_QUEUE_CONNECTION_STRING"),
        ("batch_size", "BATCH_SIZE"),
    ],
)
def test_a_slip_in_env_is_a_problem_and_its_value_is_not_shown(
    env_file: Path, name: str, meant: str
) -> None:
    env_file.write_text(f"{name}=the-value\n")
    (problem,) = problems(env_file)
    assert problem == f"{name}: not a setting (.env); did you mean {meant}?"


def test_a_line_that_is_no_assignment_is_named(env_file: Path) -> None:
    env_file.write_text("BATCH_SIZE=5\nSNOWFLAKE_PASSWORD='open secret\n")
    (problem,) = problems(env_file)
    assert "line 2" in problem
    assert "open secret" not in problem


def test_an_env_file_that_cannot_be_read(env_file: Path) -> None:
    env_file.mkdir()
    assert "cannot be read" in problems(env_file)[0]


def test_an_env_file_that_is_not_utf8(env_file: Path) -> None:
    env_file.write_bytes(b"SNOWFLAKE_PASSWORD=\xff\xfe\n")
    assert "not UTF-8" in problems(env_file)[0]


def test_an_env_file_that_is_another_file(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "ENV_FILE_MAX_BYTES", 10)
    env_file.write_text("BATCH_SIZE=5\n")
    assert "larger than 10 bytes" in problems(env_file)[0]


def test_a_slip_in_the_environment_is_a_warning() -> None:
    config = load(environ={"SNOWFLAKE_USR": "x", "BATCHES": "y", "PATH": "z"}, needs=())
    assert config.warnings == (
        "SNOWFLAKE_USR: not a setting (environment); did you mean SNOWFLAKE_USER?",
    )


def test_a_slip_in_the_environment_explains_what_is_missing() -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ={"SNOWFLAKE_USR": "x"})
    assert any("did you mean SNOWFLAKE_USER" in problem for problem in caught.value.problems)


def test_an_unknown_setting_on_the_command_line_is_a_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        load(overrides={"BATCH": "1", "ZZZ": "2"}, environ={}, needs=())
    assert caught.value.problems == [
        "BATCH: not a setting (command line); did you mean BATCH_SIZE?",
        "ZZZ: not a setting (command line)",
    ]
