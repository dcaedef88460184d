"""Folders that one process at a time may use, held by ``flock``.

The kernel lets go of the lock when its holder dies, however it dies, so there is no stale lock to
clean up. The descriptor is close-on-exec: no program the holder starts keeps the folder held.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from pathlib import Path
from types import TracebackType

from pipeline.errors import StageFailed
from pipeline.folders import PRIVATE_MODE, private_folder

LOCK_NAME = ".lock"
# Rights of those who are not a folder's owner.
OTHERS = 0o077
# How often a waiting process looks whether the lock is free.
POLL_S = 0.1


class Slot:
    """A folder this process holds until ``release`` or its death.

    Args:
        path: the folder.
        lock_fd: the open, locked descriptor; the slot closes it.
    """

    def __init__(self, path: Path, lock_fd: int) -> None:
        self.path = path
        self._lock_fd: int | None = lock_fd

    def release(self) -> None:
        """Let others have the folder. Harmless when repeated."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def __enter__(self) -> Slot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def claim_slot(base: Path, limit: int) -> Slot:
    """Hold the first free one of the folders ``0``, ``1``, … under ``base``.

    The first free number is taken, so a process that starts again finds what its predecessor left.

    Args:
        base: where the numbered folders are; created if it is not there. One that exists keeps its
            mode, but the numbered ones are for their owner alone.
        limit: how many there may be.

    Raises:
        StageFailed: all of them are held by other processes.
        OSError: the folders cannot be created, locked, or closed to others.
    """
    base = private_folder(base)
    for number in range(limit):
        if (slot := hold_folder(base / str(number))) is not None:
            try:
                _close_to_others(slot.path)
            except OSError:
                slot.release()
                raise
            return slot
    raise StageFailed(f"all {limit} numbered folders under {base} are held by other processes")


def hold_folder(path: Path, wait_s: float = 0.0) -> Slot | None:
    """Hold this folder, creating it if it is not there.

    Args:
        path: the folder.
        wait_s: how long to wait for another holder to let go, in seconds.

    Returns:
        The slot, or None if another process (or another slot of this one) still holds it.

    Raises:
        OSError: the folder cannot be created, or its file system has no locks.
    """
    deadline = time.monotonic() + wait_s
    while True:
        path = private_folder(path)
        if (fd := lock_file(path / LOCK_NAME)) is not None:
            return Slot(path, fd)
        if time.monotonic() >= deadline:
            return None
        time.sleep(POLL_S)


def _close_to_others(folder: Path) -> None:
    if stat.S_IMODE(folder.stat().st_mode) & OTHERS:
        folder.chmod(PRIVATE_MODE)


def lock_file(file: Path, access: int = os.O_RDWR) -> int | None:
    """Lock a file, creating it if it is not there.

    Args:
        file: in a folder that exists.
        access: how it is opened.

    Returns:
        The open descriptor, which is the lock; None while another holds it.

    Raises:
        OSError: it cannot be opened, or its file system has no locks.
    """
    fd = os.open(file, access | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A holder that removed it has unlinked this file: a lock on it would guard nothing.
        held = os.fstat(fd).st_nlink > 0
    except BlockingIOError:
        held = False
    except BaseException:
        os.close(fd)
        raise
    if not held:
        os.close(fd)
        return None
    return fd
