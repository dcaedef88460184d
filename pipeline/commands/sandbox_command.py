"""``azure-collector sandbox``: keeps the sandbox running for programs beside it.

Standard output holds nothing but one ``NAME=value`` line for each variable and then ``ready``, so
that a program can read it; everything else goes to standard error.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import EXIT_DEPENDENCY, EXIT_DONE, SandboxError
from pipeline.sandbox.runner import PARTS, Sandbox

# How long one wait for a part's death is; the loop then waits again.
WAIT_S = 60.0


def run_sandbox(
    folder: Path | None = None,
    *,
    parts: Collection[str] = PARTS,
    arm_options: Sequence[str] = (),
) -> int:
    """Run until SIGTERM or SIGINT, or until a part of the sandbox ends on its own.

    Args:
        folder: where the data stays between runs; a fresh folder in the cache if not given.
        parts: which parts to start.
        arm_options: more options for the ARM simulator.

    Returns:
        0 after a signal, 3 if a part could not be had or died.
    """
    # A part's death is said below, once, and not also logged.
    sandbox = Sandbox(folder, parts=parts, arm_options=arm_options, say=_say, on_death=_ignore)
    with _both_signals_interrupt():
        try:
            try:
                sandbox.start()
                _print_settings(sandbox.settings)
                while (death := sandbox.await_death(WAIT_S)) is None:
                    pass
                _say(death)
                return EXIT_DEPENDENCY
            finally:
                _ignore_both_signals()
                sandbox.stop()
        except KeyboardInterrupt:
            return EXIT_DONE
        except SandboxError as error:
            _say(str(error))
            return EXIT_DEPENDENCY


@contextmanager
def _both_signals_interrupt() -> Iterator[None]:
    # KeyboardInterrupt gets out of every wait, the one for a download included.
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_both_signals() -> None:
    # The end takes seconds at most, and must not be left half done.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _print_settings(settings: dict[str, str]) -> None:
    lines = [f"{name}={value}" for name, value in settings.items()]
    print("\n".join([*lines, "ready"]), flush=True)


def _say(text: str) -> None:
    print(f"sandbox: {text}", file=sys.stderr, flush=True)


def _ignore(_text: str) -> None:
    return
