"""``python -m pipeline`` that gives an answer up after seconds: it compresses the time.

There is no way to it in the product.
"""

from __future__ import annotations

import importlib
import sys

from pipeline.entry_points import kind_of
from tests.acceptance.chaos.in_stages import in_every_stage

# By kind of stage: module, limit, and what it is here. Still longer than anything takes that is
# answered at all.
LIMITS: dict[str, tuple[tuple[str, str, float], ...]] = {
    "fetch": (("stages.fetch.queue", "READ_TIMEOUT_S", 2),),
    "load": (
        ("stages.load.session", "STATEMENT_SOCKET_LIMIT_S", 4),
        ("stages.load.session", "LOGIN_SOCKET_LIMIT_S", 4),
        ("stages.load.session", "CLOSE_SOCKET_LIMIT_S", 1),
        ("stages.load.session", "NETWORK_LIMIT_S", 8),
        ("stages.load.stage", "RETRY_MAX_S", 2),
    ),
}


def _shorten(process: str) -> None:
    for module, name, limit in LIMITS.get(kind_of(process), ()):
        found = importlib.import_module(module)
        assert getattr(found, name) >= limit
        setattr(found, name, limit)


if __name__ == "__main__":
    from pipeline.cli import main

    in_every_stage(_shorten)
    sys.exit(main())
