"""The loads themselves: batches together, or apart from all others what may kill the process.

What is about to be loaded is noted first (:mod:`stages.load.under_way`), so that a death tells the
next process what it was about (:mod:`stages.load.isolation`). All of it runs in the connector's
thread.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from pipeline.errors import DependencyError, Unreachable
from pipeline.logs import log
from pipeline.messages import Receipt
from pipeline.spool import DamagedBatch, SealedBatch, Spool
from stages.load import pieces, unfit
from stages.load.isolation import APART_AT, ASIDE_AT, GIVE_UP_AT, PROVE_AT, Suspicion, Trial
from stages.load.loader import WHOLE, Loaded, Loader, Way, report
from stages.load.under_way import UnderWay

# A file that cannot be opened is taken for damaged after so many tries, some three seconds.
UNOPENED_LIMIT = 4
# Unless it is for want of something that all processes share, or that comes back.
_NOT_OF_THE_FILE = (
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR),
    *(errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOTCONN),
)


@dataclass
class Done:
    """What came of a load.

    Attributes:
        receipts: for batches that are committed, all of their rows with this load.
        loaded: what it changed; None if nothing was loaded.
        damaged: batches that cannot be loaded, each with the reason.
        gone: batches that were not there.
        killing: rows that are set aside because they kill; they are told with a later load.
        proved: deaths before it that are put down to what they were about, as loading works.
    """

    receipts: list[Receipt] = field(default_factory=list)
    loaded: Loaded | None = None
    damaged: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    killing: int = 0
    proved: int = 0


class Loads:
    """Takes batches from the spool into Snowflake.

    Args:
        spool: where they are.
        loader: loads them.
    """

    def __init__(self, spool: Spool, loader: Loader) -> None:
        self._spool = spool
        self._loader = loader
        self._under_way = UnderWay(spool.folder)
        # What is noted once the load that is under way has ended.
        self._after = Suspicion()
        self._unopened: Counter[str] = Counter()
        # This process has shown that it can load.
        self._proven = False

    @property
    def suspects(self) -> dict[str, None]:
        """Batches that are loaded by :meth:`apart` only, the next one first."""
        return self._under_way.suspicion.suspects

    def take_over(self, batch_ids: Collection[str]) -> None:
        """Read what a process that died was about.

        Args:
            batch_ids: all batches in the spool.
        """
        self._under_way.read(batch_ids)
        if found := list(self.suspects):
            log.bind(action="load_suspects", batches=found).warning(
                "a process has died while it was loading: {} batches are loaded apart", len(found)
            )

    def leave(self) -> None:
        """The process ends in order with a load under way: that is nobody's fault."""
        self._under_way.write(self._under_way.suspicion.idle())

    def together(self, plan: Sequence[str]) -> Done:
        """Load these batches together, none of them a suspect.

        Raises:
            DependencyError: they are not loaded.
        """
        done = Done()
        with ExitStack() as stack, self._noted(joined=tuple(plan)):
            if batches := self._open(stack, plan, done):
                self._load(done, batches)
                done.receipts = [_receipt(batch) for batch in batches]
        return done

    def apart(self) -> Done:
        """Take the next step with the first suspect.

        Raises:
            DependencyError: it is not loaded.
        """
        suspicion = self._under_way.suspicion
        trial, done = suspicion.trials[0], Done()
        if trial.deaths >= GIVE_UP_AT:
            # Before it is opened, which may be what kills.
            done.damaged[trial.batches[0]] = "it kills the process that loads it"
            self._under_way.write(suspicion.forget(trial.batches))
        elif suspicion.deaths >= PROVE_AT and not self._proven:
            # Loading may not work at all: then nothing is put down to what is loaded.
            with self._noted(proving=True):
                self._load(done, [pieces.proof()], Way(by_key=True, keep=False))
            done.loaded = None
        else:
            with ExitStack() as stack, self._noted(trying=True):
                batches = self._open(stack, trial.batches, done)
                self._after = self._after.forget({*done.damaged, *done.gone})
                if self._after.trials == suspicion.trials:
                    self._try(trial, batches, done)
        return done

    def _try(self, trial: Trial, batches: Sequence[SealedBatch], done: Done) -> None:
        if trial.rows is not None:
            self._try_piece(trial, trial.rows, batches[0], done)
        elif len(batches) == 1 and trial.deaths >= APART_AT:
            (one,) = batches
            log.bind(action="batch_taken_apart", batch_id=one.batch_id).warning(
                "a batch kills the process that loads it: it is loaded in pieces"
            )
            rows = (one.resources.num_rows, one.requests.num_rows)
            self._after = self._after.taken_apart(*rows)
        else:
            self._load(done, batches)
            self._after, _ = self._after.done()
            done.receipts = [_receipt(batch) for batch in batches]

    def _try_piece(
        self, trial: Trial, rows: tuple[int, int], batch: SealedBatch, done: Done
    ) -> None:
        batch_id, resources = batch.batch_id, batch.resources.num_rows
        blamed, of_requests = trial.deaths >= ASIDE_AT, rows[0] >= resources
        if blamed and not of_requests:
            (row,) = pieces.described(batch, {rows[0]: unfit.KILLS})
            self._after = self._after.without_row(unfit.KILLS)
            report([row])
            done.killing = 1
            return
        piece, way = pieces.piece_of(batch, rows), Way(by_key=True)
        if of_requests:
            # They tell what was set aside, so that no request with such a row is called complete.
            known = self._after.aside.get(batch_id, {})
            way = Way(by_key=True, aside=pieces.described(batch, known))
        if blamed:
            log.bind(action="request_left_plain", batch_id=batch_id).error(
                "a row of REQUESTS kills the process that loads it: it is loaded without its texts"
            )
            piece = replace(piece, requests=pieces.plain(piece.requests))
        loaded = self._load(done, [piece], way)
        refused = {row.row_key: row.reason for row in loaded.refused}
        self._after = self._after.with_aside(batch_id, pieces.places(batch, refused))
        self._after, whole = self._after.done()
        if whole:
            done.receipts = [_receipt(batch)]

    @contextmanager
    def _noted(self, **what: Any) -> Iterator[None]:
        """Note that this is under way, and what of it is left when it has ended."""
        before = self._under_way.suspicion
        self._after = before
        self._under_way.write(msgspec.structs.replace(before, **what))
        try:
            yield
        except DependencyError:
            self._under_way.write(before)
            raise
        self._under_way.write(self._after)

    def _load(self, done: Done, batches: Sequence[SealedBatch], way: Way = WHOLE) -> Loaded:
        if way.by_key and not self._under_way.kept:
            # Some rows of a batch would be there, and nobody know that it was taken apart.
            raise Unreachable("spool", "what is loaded in pieces cannot be noted in it")
        done.loaded = loaded = self._loader.load(batches, way)
        self._proven = True
        done.proved = self._after.deaths
        self._after = self._after.proven()
        return loaded

    def _open(self, stack: ExitStack, batch_ids: Sequence[str], done: Done) -> list[SealedBatch]:
        """Open the batches of a load, as far as they are there and can be read."""
        opened = []
        for batch_id in batch_ids:
            try:
                opened.append(stack.enter_context(self._spool.open(batch_id)))
                self._unopened.pop(batch_id, None)
            except FileNotFoundError:
                done.gone.add(batch_id)  # loaded already; only its word came late
            except DamagedBatch as error:
                done.damaged[batch_id] = str(error)
            except OSError as error:
                problem = f"{batch_id} cannot be opened: {error}"
                self._unopened[batch_id] += error.errno not in _NOT_OF_THE_FILE
                if self._unopened[batch_id] < UNOPENED_LIMIT:
                    raise Unreachable("spool", problem) from error
                del self._unopened[batch_id]
                done.damaged[batch_id] = problem
        return opened


def _receipt(batch: SealedBatch) -> Receipt:
    return Receipt(batch.batch_id, batch.resources.num_rows, batch.requests.num_rows, batch.parts)
