"""A real disk of a few MiB, for whoever runs the tests: a tmpfs in a user namespace of its own.

Its holder is a shell in that namespace. Everyone else reaches the disk through ``/proc/<pid>/root``
and needs no right but to be the same user.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

# Mounts, then does as it is told on standard input: its end is the disk's.
HOLDER = """
mount -t tmpfs -o "size=$1,mode=700" small "$2" && echo ready || exit 1
while read -r options; do
    mount -o "remount,bind,$options" "$2" && echo done || echo failed
done
"""
FILL_BYTES = 256 * 1024


class SmallDisk:
    """The disk.

    Attributes:
        path: of its root.
    """

    def __init__(self, path: Path, commands: IO[str], answers: IO[str]) -> None:
        self.path = path
        self._commands = commands
        self._answers = answers
        self._filler = path / "filler"

    @property
    def free_bytes(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, leave_bytes: int = 0) -> None:
        """Take all of its room but this."""
        with self._filler.open("ab", buffering=0) as file:
            while (more := min(FILL_BYTES, self.free_bytes - leave_bytes)) > 0:
                file.write(b"\xff" * more)

    def clear(self) -> None:
        """Give back what :meth:`fill` took."""
        self._filler.unlink()

    def remount(self, options: str) -> None:
        """Mount it anew, with ``ro`` or ``rw``. No file may be open for writing then."""
        self._commands.write(f"{options}\n")
        self._commands.flush()
        assert self._answers.readline() == "done\n", f"cannot be mounted with {options}"


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """Have a disk of this size; the test is skipped where that is not allowed.

    Args:
        folder: an empty one to mount it on; for others than the holder it stays empty.
        size_bytes: of the disk.
    """
    if shutil.which("unshare") is None:
        pytest.skip("a small disk takes Linux's unshare")
    with subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--mount",
         "sh", "-c", HOLDER, "sh", str(size_bytes), str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stderr is not None
        if holder.stdout.readline() != "ready\n":
            pytest.skip(f"a small disk takes user namespaces: {holder.stderr.read().strip()}")
        root = Path(f"/proc/{holder.pid}/root")
        yield SmallDisk(root / folder.relative_to("/"), holder.stdin, holder.stdout)
