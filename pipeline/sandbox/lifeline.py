"""Makes a Python child end when its parent is gone: ``python -m pipeline.sandbox.lifeline MODULE``.

The parent holds the write end of this process's standard input and never writes. The kernel closes
it when the parent dies, SIGKILL included, and the read here returns. Unlike ``PR_SET_PDEATHSIG``
this does not depend on which of the parent's threads started the child (that signal comes when the
*thread* ends), needs no code between fork and exec, and works on macOS too.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

# From the SIGTERM to the SIGKILL that a child sends to itself.
GRACE_S = 5.0


def watch_parent() -> None:
    """Start the daemon thread that ends this process once standard input is closed."""
    threading.Thread(target=_end_at_eof, name="lifeline", daemon=True).start()


def _end_at_eof() -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass  # standard input was closed from within: there is no parent to watch either
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the module named by the first argument as a program, watched."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m pipeline.sandbox.lifeline MODULE [ARGUMENT ...]")
    watch_parent()
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
