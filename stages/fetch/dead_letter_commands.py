"""``azure-collector dead-letter list``, ``show``, ``replay`` and ``purge``.

Exit codes: 0 all that was asked for is done; 2 bad usage, an unknown id, or a message that was
kept; 3 a queue did not answer. Replay and purge leave an audit line for each page they settle.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TextIO

import msgspec

from pipeline.audit import AuditLog, open_audit, queue_identity
from pipeline.config import Config
from pipeline.errors import EXIT_CONFIG, EXIT_DONE, ConfigError, DependencyError
from stages.fetch.dead_letter import LEASE_S, THREADS, DeadLetter, Look, delete
from stages.fetch.dead_letter_replay import NotReplayable, replay
from stages.fetch.dead_letter_view import count, line_of, looked, plain, row_of, show
from stages.fetch.queue import POISON_SUFFIX, LeaseLost, open_queue, poison_name
from stages.fetch.storage_sdk import QueueClient

# Messages that `list` shows of one queue.
MAX_LISTED = 1_000

# What settles one message; returns a remark, or raises NotReplayable if it is kept.
Settle = Callable[[QueueClient, QueueClient, DeadLetter], str]


@dataclass(frozen=True, slots=True)
class Way:
    """What is done with messages.

    Attributes:
        done: that in words, e.g. ``purged``.
        settle: does it for one.
        tell: leaves the audit line for several.
    """

    done: str
    settle: Settle
    tell: Callable[..., None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which messages: those with these ids, or all with this text in their reason."""

    ids: frozenset[str] = frozenset()
    reason: str | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Whether this is one of them."""
        if self.ids:
            return letter.id in self.ids
        if self.reason is None:
            return True
        return letter.envelope is not None and self.reason.lower() in letter.envelope.reason.lower()


@dataclass(slots=True)
class Tally:
    """What came of a command, over all queues."""

    done: int = 0
    kept: int = 0
    found: set[str] = field(default_factory=set)
    looks: list[str] = field(default_factory=list)


def list_letters(
    config: Config, *, queue: str | None = None, as_json: bool = False, out: TextIO | None = None
) -> int:
    """Print what stands in the poison queues; all of it stays there.

    Args:
        config: the queues.
        queue: only this one's; all of AZURE_QUEUE_NAME if None.
        as_json: one JSON object instead of lines.
        out: standard output if not given.

    Raises:
        DependencyError: a queue did not answer.
    """
    out = out or sys.stdout
    rows: list[dict[str, Any]] = []
    beyond: dict[str, int] = {}
    for name in _queues(config, queue):
        with _opened(config, poison_name(name)) as client, Look(client, MAX_LISTED) as look:
            own = [row_of(name, letter) for page in look.pages() for letter in page]
            beyond[name] = look.beyond
        rows += own
        if not as_json:
            for row in own:
                print(line_of(row), file=out)
            print(looked(name, look), file=out)
    if as_json:
        print(msgspec.json.encode({"messages": rows, "beyond": beyond}).decode(), file=out)
    return EXIT_DONE


def show_letter(
    config: Config,
    message_id: str,
    *,
    queue: str | None = None,
    only_original: bool = False,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Print one envelope, and below it the original text (or what was kept of it).

    Args:
        config: the queues.
        message_id: id in the poison queue.
        queue: only look in this one's.
        only_original: without the envelope.
        out: standard output if not given.
        err: standard error if not given.

    Returns:
        0, or 2 if it was not found.

    Raises:
        DependencyError: a queue did not answer.
    """
    out, err = out or sys.stdout, err or sys.stderr
    looks = []
    for name in _queues(config, queue):
        with _opened(config, poison_name(name)) as client, Look(client) as look:
            for page in look.pages():
                for letter in page:
                    if letter.id == message_id:
                        show(name, letter, only_original, out)
                        return EXIT_DONE
            looks.append(looked(name, look))
    print("\n".join([f"{plain(message_id)}: not found", *looks]), file=err)
    return EXIT_CONFIG


def replay_letters(
    config: Config,
    ids: Sequence[str] = (),
    *,
    every: bool = False,
    reason: str | None = None,
    queue: str | None = None,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Put originals back into their queue, unchanged, and delete the poison messages.

    Args:
        config: the queues.
        ids: of poison messages.
        every: all of them instead.
        reason: with ``every``, those with this text in their reason.
        queue: only this one's poison queue.
        out: what was done; standard output if not given.
        err: what was not; standard error if not given.

    Returns:
        0, or 2 if an id was not found or a message was kept.

    Raises:
        ConfigError: ids and ``every`` do not go together, and one is needed.
        DependencyError: a queue did not answer. What was done until then is said.
    """
    wanted = _wanted(ids, every, reason)
    tally = _settle_all(config, queue, wanted, REPLAY, err or sys.stderr)
    return _report(tally, wanted, "replayed", out or sys.stdout, err or sys.stderr)


def purge_letters(
    config: Config,
    ids: Sequence[str] = (),
    *,
    every: bool = False,
    reason: str | None = None,
    queue: str | None = None,
    yes: bool = False,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Delete poison messages for good; without ``yes`` only count them.

    Args, Returns and Raises as :func:`replay_letters`; 2 also without ``yes``.
    """
    out, err = out or sys.stdout, err or sys.stderr
    wanted = _wanted(ids, every, reason)
    if yes:
        tally = _settle_all(config, queue, wanted, PURGE, err)
        return _report(tally, wanted, "purged", out, err)
    tally = _settle_all(config, queue, wanted, None, err)
    _report(tally, wanted, "", out, err)
    print(
        f"nothing was deleted: with --yes, {count(len(tally.found), 'message')} would be",
        file=err,
    )
    return EXIT_CONFIG


# ── settling ─────────────────────────────────────────────────────────────────────────────────────


def _replay(poison: QueueClient, work: QueueClient, letter: DeadLetter) -> str:
    result = replay(poison, work, letter)
    if result.before:
        return "an interrupted replay had put it back already; now it is out of the poison queue"
    if result.again:
        return (
            "an interrupted replay may have put it back already; it was put back anew, and its "
            "message_id makes a second delivery harmless"
        )
    return ""


def _purge(poison: QueueClient, _work: QueueClient, letter: DeadLetter) -> str:
    try:
        delete(poison, letter.id, letter.pop_receipt)
    except LeaseLost as error:
        if str(error) == "MessageNotFound":  # it is gone, which is what was wanted
            return ""
        raise NotReplayable(
            f"another command has it now; look again in {LEASE_S} seconds"
        ) from error
    return ""


def _tell_replayed(audit: AuditLog, **fields: Any) -> None:
    audit.tell("dead_letters_replayed", "poison messages replayed", **fields)


def _tell_purged(audit: AuditLog, **fields: Any) -> None:
    audit.tell("dead_letters_purged", "poison messages purged", **fields)


REPLAY = Way("replayed", _replay, _tell_replayed)
PURGE = Way("purged", _purge, _tell_purged)


def _settle_all(
    config: Config, queue: str | None, wanted: Wanted, way: Way | None, err: TextIO
) -> Tally:
    """Settle what is wanted, page by page, so that leases are fresh; with no ``way``, count."""
    if way is None:
        return _go_through(config, queue, wanted, None, err)
    with closing(open_audit(config, "dead-letter")) as audit:
        told = replace(way, tell=partial(way.tell, audit, identity=queue_identity(config)))
        return _go_through(config, queue, wanted, told, err)


def _go_through(
    config: Config, queue: str | None, wanted: Wanted, way: Way | None, err: TextIO
) -> Tally:
    tally = Tally()
    for name in _queues(config, queue):
        with (
            _opened(config, poison_name(name)) as poison,
            _opened(config, name) as work,
            Look(poison) as look,
        ):
            for page in look.pages():
                chosen = [letter for letter in page if wanted.takes(letter)]
                tally.found.update(letter.id for letter in chosen)
                if way is not None and chosen:
                    settle = partial(way.settle, poison, work)
                    _settle_page(settle, chosen, look, way, tally, err)
                if wanted.ids and wanted.ids <= tally.found:
                    break
            tally.looks.append(looked(name, look))
        if wanted.ids and wanted.ids <= tally.found:
            break
    return tally


def _settle_page(
    settle: Callable[[DeadLetter], str],
    chosen: Sequence[DeadLetter],
    look: Look,
    way: Way,
    tally: Tally,
    err: TextIO,
) -> None:
    """Settle these, tell what is remarkable, and leave an audit line.

    Raises:
        DependencyError: after all of the page were tried.
    """
    ids: list[str] = []
    failure: DependencyError | None = None
    try:
        with ThreadPoolExecutor(THREADS, "dead-letter") as pool:
            for letter, under_way in [(letter, pool.submit(settle, letter)) for letter in chosen]:
                try:
                    remark = under_way.result()
                except NotReplayable as kept:
                    tally.kept += 1
                    print(f"{letter.id}: kept: {plain(str(kept))}", file=err)
                except DependencyError as error:
                    failure = failure or error
                else:
                    ids.append(letter.id)
                    look.settled(letter)
                    if remark:
                        print(f"{letter.id}: {remark}", file=err)
    finally:
        tally.done += len(ids)
        if ids:
            way.tell(queue=look.queue_name, message_ids=ids, messages=len(ids))
    if failure is not None:
        raise type(failure)(
            failure.what,
            f"{failure.problem}; {count(tally.done, 'message')} {way.done} until then",
            failure.hint,
        ) from failure


def _report(tally: Tally, wanted: Wanted, done: str, out: TextIO, err: TextIO) -> int:
    missing = sorted(wanted.ids - tally.found)
    for message_id in missing:
        print(f"{plain(message_id)}: not found", file=err)
    if missing or not wanted.ids:
        print("\n".join(tally.looks), file=err)
    if done:
        kept = f", {tally.kept:,} kept" if tally.kept else ""
        print(f"{done} {count(tally.done, 'message')}{kept}", file=out)
    return EXIT_CONFIG if missing or tally.kept else EXIT_DONE


def _wanted(ids: Sequence[str], every: bool, reason: str | None) -> Wanted:
    if bool(ids) == every:
        raise ConfigError(["name the messages by their IDs, or all of them by --all"])
    if reason is not None and not every:
        raise ConfigError(["--reason goes with --all"])
    return Wanted(frozenset(ids), reason)


def _queues(config: Config, queue: str | None) -> list[str]:
    if queue is None:
        return list(config.azure_queue_name)
    return [queue.removesuffix(POISON_SUFFIX)]


@contextmanager
def _opened(config: Config, name: str) -> Iterator[QueueClient]:
    with closing(open_queue(config, name)) as client:
        yield client
