"""A shell as a reader of the documentation has it, in which commands are typed in their order."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.command import KEPT, ROOT
from tests.processes import until

COMMAND_LIMIT_S = 60.0
# After SIGTERM, what is left of the reader's programs is killed.
END_LIMIT_S = 10.0
PROGRAM = "azure-collector"
# For a machine that lacks curl: asks the last argument, and fails as `curl -f` does.
_CURL = (
    "import sys, urllib.request as web; sys.stdout.write(web.urlopen(sys.argv[-1]).read().decode())"
)


class Shell:
    """A bash that takes a command at a time.

    Args:
        process: reads commands from its standard input.
        output: file with what it and its commands print.
        replaced: texts that are typed otherwise, e.g. a port that others may listen on.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], output: Path, replaced: Mapping[str, str]
    ) -> None:
        self._process = process
        self._output = output
        self._replaced = replaced
        self._typed = 0

    def type(self, command: str) -> tuple[list[str], int]:
        """Run a command; the lines that it printed, and its exit code."""
        self._typed += 1
        for said, typed in self._replaced.items():
            command = command.replace(said, typed)
        mark = f"--typed-{self._typed}-ended-with-"
        seen_bytes = self._output.stat().st_size
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(f"{command}\nprintf '\\n%s%d\\n' {mark} $?\n".encode())
        stdin.flush()

        def printed() -> str:
            with self._output.open("rb") as file:
                file.seek(seen_bytes)
                text = file.read().decode()
            return text if mark in text and text.endswith("\n") else ""

        text: str = until(printed, COMMAND_LIMIT_S, f"did not end: {command}")
        before, _, after = text.partition(mark)
        return before.splitlines(), int(after.splitlines()[0])


@contextmanager
def shell(
    folder: Path,
    variables: Mapping[str, str],
    replaced: Mapping[str, str],
    project: Path = ROOT,
) -> Iterator[Shell]:
    """A shell in a folder of its own, with the program and Python on its PATH.

    Args:
        folder: an empty one; it takes what is printed, and ``home``, where the shell starts, which
            may be there.
        variables: of its environment, beside the few of this machine's that are kept.
        replaced: as :class:`Shell` takes it.
        project: whose program it is.
    """
    programs, home = folder / "bin", folder / "home"
    programs.mkdir()
    home.mkdir(exist_ok=True)
    # The program of this checkout, whatever is installed.
    commands = {PROGRAM: "-m pipeline", "python": ""}
    if shutil.which("curl") is None:
        commands["curl"] = f"-c '{_CURL}'"
    for name, arguments in commands.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        program.chmod(0o755)
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    path = f"{programs}{os.pathsep}{kept['PATH']}"
    output = folder / "typed.txt"
    with (
        output.open("wb") as file,
        subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=home,
            env={**kept, "PATH": path, "PYTHONPATH": str(project), **variables},
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            reader = Shell(process, output, replaced)
            # Should this process be killed, the shell's input ends, and with it all it has started.
            reader.type("trap 'kill $(jobs -p)' EXIT")
            yield reader
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End whatever the reader has left running, the shell last to be waited for."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            until(lambda: process.poll() is not None and not _is_there(process.pid), END_LIMIT_S)
        except (ProcessLookupError, AssertionError):
            continue


def _is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
