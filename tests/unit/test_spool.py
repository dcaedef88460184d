"""The spool: batches that are there whole or not at all."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import tables
from pipeline.errors import StageFailed
from pipeline.messages import LeaseRef, Part
from pipeline.slots import claim_slot
from pipeline.spill import Spill
from pipeline.spool import _SEAL, DAMAGED_KEPT, DamagedBatch, Spool, new_batch_id

LEASE = LeaseRef(1, 1, "q", "qid", "pop", "m-1", None, 5, 1, 1)
PARTS = [Part(LEASE, 0, 2, 2), Part(LEASE, 1, 0, None)]


def resources(rows: int, body: str = '{"a":"é"}') -> pa.Table:
    values = {
        "ROW_KEY": [f"key-{number}" for number in range(rows)],
        "MESSAGE_ID": ["m-1"] * rows,
        "REQUEST_INDEX": [0] * rows,
        "SERVICE": ["compute"] * rows,
        "API_VERSION": ["2024-07-01"] * rows,
        "BODY": [body] * rows,
        "ENQUEUED_AT": [5] * rows,
        "COLLECTED_AT": [7] * rows,
        "BATCH_ID": ["b"] * rows,
    }
    columns = [pa.array(values.get(f.name, [None] * rows), f.type) for f in tables.RESOURCES]
    return pa.Table.from_arrays(columns, schema=tables.RESOURCES)


def empty() -> tuple[pa.Table, pa.Table]:
    return tables.RESOURCES.empty_table(), tables.REQUESTS.empty_table()


def _all(folder: Path) -> list[Path]:
    return [folder, *folder.rglob("*")]


def sealed(spool: Spool, batch_id: str = "b-1", rows: int = 2) -> int:
    return spool.seal(batch_id, resources(rows), empty()[1], PARTS)


def test_what_an_older_version_has_sealed_is_read_with_its_newer_columns_null(
    tmp_path: Path,
) -> None:
    spool = Spool(tmp_path)
    older = resources(2).drop_columns(["SOURCE", "CACHED"])
    spool.seal("b-1", older, empty()[1].drop_columns(["SOURCE", "CACHED"]), PARTS)
    with spool.open("b-1") as batch:
        assert batch.resources.schema == tables.RESOURCES
        assert batch.requests.schema == tables.REQUESTS
        assert batch.resources["SOURCE"].to_pylist() == [None, None]
        assert batch.resources.drop_columns(["SOURCE", "CACHED"]).equals(older)


def test_what_a_newer_version_has_beyond_ours_is_left_out(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    newer = (
        resources(1)
        .append_column("LATER", pa.array(["x"]))
        .select(["LATER", *reversed(tables.RESOURCES.names)])
    )
    spool.seal("b-1", newer, empty()[1], PARTS)
    with spool.open("b-1") as batch:
        assert batch.resources.equals(resources(1))


@pytest.mark.parametrize(
    "broken",
    [
        resources(1).drop_columns(["ROW_KEY"]),
        resources(1).set_column(0, "ROW_KEY", pa.array([1])),
        resources(1).set_column(0, "ROW_KEY", pa.array([None], pa.string())),
    ],
    ids=["missing", "type", "null"],
)
def test_rows_that_do_not_fit_are_a_damaged_batch(tmp_path: Path, broken: pa.Table) -> None:
    spool = Spool(tmp_path)
    spool.seal("b-1", broken, empty()[1], PARTS)
    with pytest.raises(DamagedBatch, match="ROW_KEY"), spool.open("b-1"):
        pass


def test_what_was_sealed_is_read_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    size_bytes = sealed(spool)
    assert spool.list() == {"b-1": size_bytes}
    assert spool.path("b-1").stat().st_size == size_bytes
    with spool.open("b-1") as batch:
        assert batch.resources.equals(resources(2))
        assert batch.requests.equals(empty()[1])
        assert (batch.parts, batch.batch_id, batch.size_bytes) == (PARTS, "b-1", size_bytes)


def test_empty_tables_and_no_parts(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.seal("b-1", *empty(), [])
    with spool.open("b-1") as batch:
        assert (batch.resources.num_rows, batch.requests.num_rows, batch.parts) == (0, 0, [])


def test_a_large_batch_is_read_without_a_copy(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.seal("b-1", resources(40_000, "x" * 1_000), empty()[1], PARTS)
    before = pa.total_allocated_bytes()
    with spool.open("b-1") as batch:
        assert batch.resources.nbytes > 40_000_000
        assert batch.resources["ROW_KEY"][39_999].as_py() == "key-39999"
        assert pa.total_allocated_bytes() - before < 1_000_000


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_look(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        base = tmp_path / "spool"
        with claim_slot(base, 2) as gone:
            sealed(Spool(gone.path), "b-1")
        with claim_slot(base, 2), claim_slot(base, 2) as mine:
            spool = Spool(mine.path)
            sealed(spool, "b-2")
            sealed(spool, "b-3")
            spool.set_aside("b-3")
            with closing(Spill(spool.folder, 0)) as spill:
                spill.append(b"rows")
                assert spill._file is not None
                assert stat.S_IMODE(os.fstat(spill._file.fileno()).st_mode) == 0o600
    finally:
        os.umask(before)
    found = {path.relative_to(base): stat.S_IMODE(path.stat().st_mode) for path in _all(base)}
    names = (".", "0", "1", "0/.lock", "1/.lock", "0/b-1.arrow", "1/b-2.arrow", "1/b-3.damaged")
    assert {Path(name) for name in names} == set(found)
    assert {mode for path, mode in found.items() if path.suffix or path.name == ".lock"} == {0o600}
    assert {found[Path(name)] for name in names[:3]} == {0o700}


def test_half_a_batch_is_its_owners_alone_too(tmp_path: Path) -> None:
    """Killed in the middle of a write: what it leaves has the mode of a whole one."""
    code = f"""
import os, pathlib, resource, signal, sys
sys.path.insert(0, {str(Path.cwd())!r})
from tests.unit.test_spool import sealed
from pipeline.spool import Spool
os.umask(0)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which ends the process
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
sealed(Spool(pathlib.Path({str(tmp_path)!r})), rows=5_000)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGXFSZ
    (left,) = tmp_path.iterdir()
    assert (left.name, stat.S_IMODE(left.stat().st_mode)) == ("b-1.part", 0o600)
    spool = Spool(tmp_path)
    assert spool.list() == {}
    assert spool.remove_unfinished() == 1


def test_a_folder_that_is_gone_is_said_and_not_made_anew(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "0")
    with pytest.raises(StageFailed, match=f"{tmp_path}/0 is gone"):
        spool.check()
    with pytest.raises(FileNotFoundError):
        sealed(spool)
    assert list(tmp_path.iterdir()) == []
    spool.folder.mkdir()
    spool.check()


def test_the_list_is_in_the_order_of_time(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    ids = [new_batch_id(datetime(2026, 1, 1, 0, 0, 0, n, tzinfo=UTC)) for n in (3, 1, 999_999, 2)]
    for batch_id in ids:
        sealed(spool, batch_id)
    assert list(spool.list()) == sorted(ids) == [ids[1], ids[3], ids[0], ids[2]]


def test_no_two_names_are_alike() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert len({new_batch_id(now) for _ in range(100)}) == 100


def test_removing_is_done_once_or_twice(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    sealed(spool)
    spool.remove("b-1")
    spool.remove("b-1")
    assert spool.list() == {}
    with pytest.raises(FileNotFoundError), spool.open("b-1"):
        pass


def test_half_written_files_are_no_batches_and_are_removed(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    sealed(spool)
    (tmp_path / "b-2.part").write_bytes(b"half")
    assert list(spool.list()) == ["b-1"]
    assert (spool.remove_unfinished(), spool.remove_unfinished()) == (1, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["b-1.arrow"]


@pytest.mark.parametrize("kept", [0, 1, 7, 100, 0.3, 0.7, -1])
def test_a_cut_file_is_damaged_and_set_aside(tmp_path: Path, kept: float) -> None:
    spool = Spool(tmp_path)
    sealed(spool)
    path = spool.path("b-1")
    data = path.read_bytes()
    # The last bytes only say that nothing follows, so a cut of 1 is a cut into the parts' end mark.
    end = 16 + _SEAL.size
    size = len(data) - end if kept == -1 else int(kept if kept >= 1 else kept * len(data))
    path.write_bytes(data[:size])
    with pytest.raises(DamagedBatch), spool.open("b-1"):
        pass
    assert spool.set_aside("b-1").name == "b-1.damaged"
    assert spool.list() == {}


@pytest.mark.parametrize("place", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_a_changed_byte_is_damage_wherever_it_is(tmp_path: Path, place: float) -> None:
    """Arrow itself takes most of them for rows."""
    spool = Spool(tmp_path)
    sealed(spool, rows=200)
    data = bytearray(spool.path("b-1").read_bytes())
    data[int(len(data) * place)] ^= 0xFF
    spool.path("b-1").write_bytes(data)
    with pytest.raises(DamagedBatch, match="checksum"), spool.open("b-1"):
        pass


def test_what_was_sealed_without_a_checksum_is_read_if_it_is_sound(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    sealed(spool, rows=200)
    data = spool.path("b-1").read_bytes()[: -_SEAL.size]
    spool.path("b-1").write_bytes(data)
    with spool.open("b-1") as batch:
        assert batch.resources.equals(resources(200))
    # The text's offsets: what reads by them would end with SIGSEGV.
    offsets = b"".join(number.to_bytes(4, "little") for number in (5, 10, 15, 20))
    assert offsets in data
    spool.path("b-1").write_bytes(data.replace(offsets, b"\xff" * len(offsets)))
    with pytest.raises(DamagedBatch), spool.open("b-1"):
        pass


def test_a_file_of_something_else_is_damaged(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number, data in enumerate((b"\x00" * 500, b"text " * 100, b"\xff" * 64)):
        spool.path(str(number)).write_bytes(data)
        with pytest.raises(DamagedBatch), spool.open(str(number)):
            pass


def test_parts_that_are_no_utf_8_are_damaged(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    sealed(spool)
    path = spool.path("b-1")
    path.write_bytes(path.read_bytes().replace(b"\xa3qid", b"\xa3\xff\xe0\xc0"))
    with pytest.raises(DamagedBatch), spool.open("b-1"):
        pass


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    """The limit of a process's files stands for a full disk: both fail in the middle."""
    code = f"""
import pathlib, resource, sys
sys.path.insert(0, {str(Path.cwd())!r})
from tests.unit.test_spool import sealed
from pipeline.spool import Spool
spool = Spool(pathlib.Path({str(tmp_path)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    sealed(spool, rows=5_000)
except OSError as error:
    print(error.errno)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "27"  # EFBIG
    assert list(tmp_path.iterdir()) == []


def test_two_seals_of_one_name_do_not_mix(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "b-1.part").write_bytes(b"another writer's")
    with pytest.raises(FileExistsError):
        sealed(spool)
    assert spool.list() == {}
    assert (tmp_path / "b-1.part").read_bytes() == b"another writer's"


def test_of_damaged_batches_the_newest_are_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    names = [f"b-{number:02}" for number in range(DAMAGED_KEPT + 3)]
    for name in names:
        spool.path(name).write_bytes(b"damaged")
        spool.set_aside(name)
    assert sorted(path.stem for path in tmp_path.iterdir()) == names[3:]
