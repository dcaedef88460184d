"""The look for secrets in all that the suite's collectors say finds them, and fails the session."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.secrets_seen import Seen

ROOT = Path(__file__).parents[2]
SECRET = 'open "sesame"\t+ /1'
LEAK = """
import subprocess, sys
from pipeline.errors import Unreachable
from tests import secrets_seen

def test_one():
    secrets_seen.secret("secret-of-one")
    print("it is secret-of-one")

def test_two(tmp_path):
    code = "import os; print(os.environ['SNOWFLAKE_PASSWORD'])"
    env = {"SNOWFLAKE_PASSWORD": "secret-of-two"}
    with (tmp_path / "out.log").open("wb") as out:
        subprocess.run([sys.executable, "-c", code], env=env, stdout=out, check=True)

def test_three():
    secrets_seen.secret("secret-of-three")
    Unreachable("queue", "no answer to secret-of-three")

def test_four(capsys):
    secrets_seen.secret("secret-of-four")
    print("it is secret-of-four")
    capsys.readouterr()

def test_five():
    secrets_seen.secret("secret-of-five")
    code = "print('secret-of' + '-five')"
    subprocess.run([sys.executable, "-c", code, "/tmp/pytest/x"], capture_output=True, check=True)

def test_six():
    secrets_seen.secret("secret-of-six")
    secrets_seen.said("secret-of-six", "/metrics")

    subprocess.run([sys.executable, "-c", "print('secret-of-six')", "sandbox"], capture_output=True)

def test_seven():
    secrets_seen.secret("secret-of-seven")
    print("it is ***")
"""


@pytest.mark.parametrize(
    "text",
    [
        f"key={SECRET}.",
        r'{"key":"open \"sesame\"\t+ \/1"}'.replace(r"\/", "/"),
        f"{SECRET!r}",
        "https://host?sig=open%20%22sesame%22%09%2B%20%2F1&x=1",
    ],
)
def test_a_secret_is_found_in_each_of_its_shapes(text: str) -> None:
    seen = Seen()
    seen.said(text, "there")
    seen.secret(SECRET)
    assert len(seen.leaks()) == 1


def test_of_a_key_each_line_is_a_secret() -> None:
    seen = Seen()
    seen.secret("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END")
    seen.said("-----BEGIN PRIVATE KEY----- hkiG9w0BAQEFAASC", "there")
    assert seen.leaks() == ["hkiG9w… in there"]


def test_secrets_that_begin_alike_are_told_apart() -> None:
    seen = Seen()
    for number in range(100):
        seen.secret(f"token-{number:08}")
    seen.said("token- token-00000000x token-99999999 token-0000001", "there")
    assert len(seen.leaks()) == 1


def test_secrets_of_settings_and_their_parts_are_known(tmp_path: Path) -> None:
    seen = Seen()
    seen.secrets_of(
        {
            "AZURE_QUEUE_CONNECTION_STRING": "AccountName=acc;AccountKey=c2VjcmV0LWtleQ==;X=y",
            "SNOWFLAKE_PASSWORD": "kv:snowflake-password",
            "SNOWFLAKE_TOKEN": "short",
            "BATCH_SIZE": "123456789",
        }
    )
    (tmp_path / "out.log").write_text("kv:snowflake-password short 123456789 c2VjcmV0LWtleQ==")
    seen.file(tmp_path / "out.log", "a run")
    seen.file(tmp_path / "absent.log", "a run")
    assert seen.leaks() == ["c2Vjcm… in a run, out.log"]


def test_much_is_looked_through_quickly() -> None:
    seen = Seen()
    for number in range(500):
        seen.secret(f"token-{number:032}")
    for number in range(50):
        seen.secret(f"{number:05}-key")
    seen.said('{"action":"loaded","token-":"x","message":"loaded 1000 resources"}\n' * 70_000, "x")
    began_s = time.process_time()
    assert seen.leaks() == []
    assert time.process_time() - began_s < 2


def test_a_session_in_which_a_secret_was_said_fails(tmp_path: Path) -> None:
    (tmp_path / "test_made.py").write_text(LEAK)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path)),
            *("-p", "tests.secrets_plugin", "-p", "no:hypothesispytest", "-n", "1", str(tmp_path)),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "7 passed" in done.stdout
    said = [line for line in done.stdout.splitlines() if line.startswith("secret… in ")]
    assert len(said) == 6, done.stdout
    assert not any("test_seven" in line for line in said)
