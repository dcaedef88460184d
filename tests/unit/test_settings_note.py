"""Which settings have changed since the last start; of secrets, that they have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import Config
from pipeline.settings_note import NAME, changed_since
from tests.unit.config_read import CONNECTION, KEY, read

PASSWORD = "open-sesame-7"


@pytest.fixture
def config() -> Config:
    return read({"AZURE_QUEUE_CONNECTION_STRING": CONNECTION, "SNOWFLAKE_PASSWORD": PASSWORD})


def test_the_first_start_has_nothing_to_compare_with(config: Config, tmp_path: Path) -> None:
    assert changed_since(config, tmp_path) is None
    assert changed_since(config, tmp_path) == {}


def test_a_change_is_told_once_with_both_values(config: Config, tmp_path: Path) -> None:
    changed_since(config, tmp_path)
    other = replace(config, batch_size=5, snowflake_role="LOADER", allow_writes=True)
    assert changed_since(other, tmp_path) == {
        "SNOWFLAKE_ROLE": {"from": None, "to": "LOADER"},
        "BATCH_SIZE": {"from": "1000", "to": "5"},
        "ALLOW_WRITES": {"from": "false", "to": "true"},
    }
    assert changed_since(other, tmp_path) == {}


def test_of_a_secret_is_told_only_that_it_changed(config: Config, tmp_path: Path) -> None:
    changed_since(config, tmp_path)
    other = replace(config, snowflake_password="another-1", snowflake_token="new-token-1")
    assert changed_since(other, tmp_path) == {
        "SNOWFLAKE_PASSWORD": "changed",
        "SNOWFLAKE_TOKEN": "changed",
    }
    assert changed_since(replace(other, snowflake_token=None), tmp_path) == {
        "SNOWFLAKE_TOKEN": "changed"
    }


def test_the_file_is_its_owners_and_holds_no_secret(config: Config, tmp_path: Path) -> None:
    changed_since(config, tmp_path)
    file = tmp_path / NAME
    assert file.stat().st_mode & 0o777 == 0o600
    held = file.read_text()
    assert PASSWORD not in held
    assert KEY not in held
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_two_collectors_keep_different_digests_of_one_secret(
    config: Config, tmp_path: Path
) -> None:
    folders = [tmp_path / str(number) for number in range(4)]
    for folder in folders:
        folder.mkdir()
        changed_since(config, folder)
    assert len({(folder / NAME).read_text() for folder in folders}) == 4


@pytest.mark.parametrize(
    "held", [b"", b"{", b"[]", b'{"salt":"xy","settings":{},"secrets":{}}', b"\xff" * 40]
)
def test_a_file_that_is_no_note_is_replaced(config: Config, tmp_path: Path, held: bytes) -> None:
    (tmp_path / NAME).write_bytes(held)
    assert changed_since(config, tmp_path) is None
    assert changed_since(config, tmp_path) == {}


def test_a_folder_that_takes_no_file_is_an_error(config: Config, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        changed_since(config, tmp_path / "absent")
