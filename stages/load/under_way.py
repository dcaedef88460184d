"""The note of what is being loaded: a small file beside the batches, which outlives its process.

It is written before a load begins and after it has ended, and not fsynced: what a process has
written outlives a signal of any kind, and when the host dies the batches are simply loaded. Only
while a batch is taken apart it is: with some of its rows committed, ``WRITE_MODE=append`` would
take the whole of it for loaded.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from threading import Lock

import msgspec

from pipeline.logs import log
from pipeline.spool import sync_folder
from pipeline.undecodable import UNDECODABLE
from stages.load.isolation import Suspicion, joined

NAME = "load.under-way"
# Not the spool's own suffix for what is unfinished: a starting ``batch`` removes those.
_UNFINISHED = ".new"


class UnderWay:
    """The file.

    Args:
        folder: the collector's own; it is never made here.

    Attributes:
        suspicion: what is known of loads that died.
        kept: the file says so.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self.suspicion = Suspicion()
        self.kept = True
        self._writing = Lock()

    def read(self, batch_ids: Collection[str]) -> None:
        """Take over what dead processes have left on these batches.

        Also those of the numbered folders beside this one: batches may have come from there.

        Args:
            batch_ids: all of this folder.
        """
        beside = sorted(self._path.parent.parent.glob(f"[0-9]*/{NAME}"))
        paths = [self._path, *(path for path in beside if path != self._path)]
        before = joined([_read(path) for path in paths], batch_ids)
        # Every death is counted once, however often this file is read from here on.
        self.write(before)

    def write(self, suspicion: Suspicion) -> None:
        """Note this."""
        # An orderly end says so while the connector's thread may be writing.
        with self._writing:
            if suspicion != self.suspicion or not self.kept:
                self._note(suspicion)

    def _note(self, suspicion: Suspicion) -> None:
        self.suspicion = suspicion
        lasting = any(trial.is_piece for trial in suspicion.trials)
        try:
            self._write(msgspec.json.encode(suspicion), lasting)
            self.kept = True
        except OSError as error:
            # Batches are loaded all the same; only what kills is not found meanwhile.
            self.kept = False
            log.bind(action="load_note_failed").debug("{} cannot be used: {}", self._path, error)

    def _write(self, data: bytes, lasting: bool) -> None:
        unfinished = self._path.with_name(NAME + _UNFINISHED)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
            if lasting:
                file.flush()
                os.fsync(descriptor)
        unfinished.replace(self._path)
        if lasting:
            sync_folder(self._path.parent)


def _read(path: Path) -> Suspicion:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Suspicion)
    except (OSError, *UNDECODABLE):
        return Suspicion()
