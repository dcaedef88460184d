"""``azure-collector send``, ``validate-message`` and ``examples``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import closing
from itertools import islice
from typing import Protocol, TextIO

from pipeline.audit import open_audit, queue_identity
from pipeline.commands.message_files import FileMessage, FileProblem, read_messages
from pipeline.config import Config
from pipeline.errors import EXIT_CONFIG, EXIT_DONE, DependencyError
from pipeline.message_format.examples import all_examples, as_text, example_message
from pipeline.message_format.services import SERVICES, closest, lookup

# Sends under way at once; a queue takes 2,000 messages a second.
SENDERS = 16
# Sends handed to the threads before the oldest ones are waited for.
MAX_PENDING = 1_000
# Stands for every service where a name is taken.
ALL = "all"
# Problems and notes that are printed, each; what is beyond is counted.
MAX_PRINTED = 50


class Sender(Protocol):
    """What puts messages into a queue; threads share it."""

    name: str

    def send(self, text: str) -> None:
        """Enqueue one message; raises a DependencyError."""

    def close(self) -> None:
        """Let go of connections."""


OpenSender = Callable[[Config, str], Sender]


def send(
    config: Config,
    files: Sequence[str],
    *,
    open_sender: OpenSender,
    as_base64: bool = False,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Check every message of the files, then enqueue all of them, or none if one is bad.

    Args:
        config: the queue; of several, the first.
        files: paths, ``-`` for standard input.
        open_sender: opens the queue.
        as_base64: store the messages as base64.
        out: results; standard output if not given.
        err: problems; standard error if not given.

    Returns:
        0, or 2 if a message is bad and nothing was sent.

    Raises:
        DependencyError: the queue is not there or stopped answering. Its text says how many
            messages were sent; the others are named on ``err``.
    """
    out, err = out or sys.stdout, err or sys.stderr
    messages, problems = _read_all(files, as_base64=as_base64, allow_writes=config.allow_writes)
    _print_some((f"{p.place}: {p.problem}" for p in problems), len(problems), "problem", err)
    if problems:
        total = len(messages) + len(problems)
        print(f"nothing was sent: {len(problems)} of {total} cannot be", file=err)
        return EXIT_CONFIG
    _print_notes(messages, err)
    queue = config.azure_queue_name[0]
    who = {"queue": queue, "identity": queue_identity(config), "files": list(files)}
    with (
        closing(open_audit(config, "send")) as audit,
        closing(open_sender(config, queue)) as sender,
    ):
        try:
            unsent, failure = _send_all(sender, messages)
        except BaseException:
            said = "sending was interrupted: between none and all were sent"
            audit.tell("messages_sent", said, level="ERROR", **who, up_to=len(messages))
            raise
        sent = len(messages) - len(unsent)
        requests = _requests(messages) - _requests(unsent)
        audit.tell(
            "messages_sent",
            "messages sent" if failure is None else f"sending stopped: {failure.problem}",
            level="INFO" if failure is None else "ERROR",
            **who,
            messages=sent,
            requests=requests,
            unsent=len(unsent),
        )
    if failure is None:
        print(
            f"sent {_count(sent, 'message')} ({_count(requests, 'request')}) to {queue}", file=out
        )
        return EXIT_DONE
    _print_some((f"{one.place}: not sent" for one in unsent), len(unsent), "message", err)
    raise type(failure)(
        failure.what,
        f"{failure.problem}; {sent} of {_count(len(messages), 'message')} sent",
        failure.hint,
    ) from failure


def validate_message(
    files: Sequence[str],
    *,
    allow_writes: bool = False,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Check the messages of files; needs no configuration and sends nothing.

    Args:
        files: paths, ``-`` for standard input.
        allow_writes: also take POSTs that may write.
        out: results; standard output if not given.
        err: problems and notes; standard error if not given.

    Returns:
        0 if all are good, else 2.
    """
    out, err = out or sys.stdout, err or sys.stderr
    messages, problems = _read_all(files, as_base64=False, allow_writes=allow_writes)
    _print_some((f"{p.place}: {p.problem}" for p in problems), len(problems), "problem", err)
    _print_notes(messages, err)
    print(
        f"{_count(len(messages), 'good message')} ({_count(_requests(messages), 'request')}), "
        f"{len(problems)} bad",
        file=out,
    )
    return EXIT_CONFIG if problems else EXIT_DONE


def list_examples(out: TextIO | None = None) -> int:
    """Print the service table: what each row's example reads, and the known API versions."""
    out = out or sys.stdout
    width = max(map(len, SERVICES))
    for service in SERVICES.values():
        print(
            f"{service.name:<{width}}  {service.provider:<35}  "
            f"{service.versions[0]:<10}  {service.purpose}",
            file=out,
        )
    print(
        f"\nazure-collector examples NAME prints a message to send; {ALL} prints every one of them",
        file=out,
    )
    return EXIT_DONE


def print_example(
    name: str,
    subscription_id: str | None = None,
    *,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Print the example message of a service, or with ``all`` those of every one as JSON Lines.

    Args:
        name: of the service, or ``all``.
        subscription_id: put into it; a placeholder if None.
        out: the messages; standard output if not given.
        err: problems; standard error if not given.

    Returns:
        0, or 2 if the table has no such service.
    """
    if name == ALL:
        for message in all_examples(subscription_id):
            print(as_text(message, indent=0), file=out or sys.stdout)
        return EXIT_DONE
    service = lookup(name)
    if service is None:
        hint = f"did you mean {guess}?" if (guess := closest(name)) else "`examples` lists them"
        print(f"there is no example for {name!r}; {hint}", file=err or sys.stderr)
        return EXIT_CONFIG
    print(as_text(example_message(service, subscription_id)), file=out or sys.stdout)
    return EXIT_DONE


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def _read_all(
    files: Sequence[str], *, as_base64: bool, allow_writes: bool
) -> tuple[list[FileMessage], list[FileProblem]]:
    messages: list[FileMessage] = []
    problems: list[FileProblem] = []
    for file in files:
        for item in read_messages(file, as_base64=as_base64, allow_writes=allow_writes):
            if isinstance(item, FileMessage):
                messages.append(item)
            else:
                problems.append(item)
    return messages, problems


def _print_notes(messages: Sequence[FileMessage], err: TextIO) -> None:
    """Say what is allowed and yet probably a slip."""
    notes = _notes(messages)
    _print_some((f"note: {note}" for note in notes), len(notes), "note", err)


def _notes(messages: Sequence[FileMessage]) -> list[str]:
    notes: list[str] = []
    first_place: dict[str, str] = {}
    for message in messages:
        place, parsed = message.place, message.parsed
        notes += [f"{place}: {field} is ignored" for field in parsed.unknown_fields]
        for service in dict.fromkeys(request.service for request in parsed.requests):
            if lookup(service) is None:
                hint = f"; did you mean {guess}?" if (guess := closest(service)) else ""
                notes.append(f"{place}: service {service} is not in the table (allowed){hint}")
        if parsed.message_id is not None:
            first = first_place.setdefault(parsed.message_id, place)
            if first != place:
                notes.append(
                    f"{place}: message_id is the same as at {first}; "
                    "rows and requests of both count as one message's"
                )
    return notes


def _print_some(lines: Iterable[str], count: int, what: str, to: TextIO) -> None:
    for line in islice(lines, MAX_PRINTED):
        print(line, file=to)
    if count > MAX_PRINTED:
        print(f"… and {_count(count - MAX_PRINTED, f'more {what}')}", file=to)


# ── sending ──────────────────────────────────────────────────────────────────────────────────────


def _send_all(
    sender: Sender, messages: Sequence[FileMessage]
) -> tuple[list[FileMessage], DependencyError | None]:
    """Send all messages, the first one alone: a queue that is not there is found out once.

    Returns:
        What is not known to be in the queue, and why.
    """
    with ThreadPoolExecutor(SENDERS, "send") as pool:
        position = 0
        while position < len(messages):
            chunk = messages[position : position + (MAX_PENDING if position else 1)]
            sends = [pool.submit(sender.send, message.stored) for message in chunk]
            failure = _await_sends(sends)
            if failure is not None:
                unsent = [
                    one for one, sent in zip(chunk, sends, strict=True) if not _succeeded(sent)
                ]
                return [*unsent, *messages[position + len(chunk) :]], failure
            position += len(chunk)
    return [], None


def _await_sends(sends: Sequence[Future[None]]) -> DependencyError | None:
    """Wait for all; after the first failure those not yet begun are given up."""
    _, pending = wait(sends, return_when=FIRST_EXCEPTION)
    for one in pending:
        one.cancel()
    wait(sends)
    for one in sends:
        error = None if one.cancelled() else one.exception()
        if isinstance(error, DependencyError):
            return error
        if error is not None:
            raise error
    return None


def _succeeded(one: Future[None]) -> bool:
    return not one.cancelled() and one.exception() is None


def _requests(messages: Sequence[FileMessage]) -> int:
    return sum(len(message.parsed.requests) for message in messages)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
