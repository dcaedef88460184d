"""Importing a library without what it would carry along for nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def without(names: Sequence[str]) -> Iterator[None]:
    """Have these modules fail to import; those that are imported already stay as they are.

    Args:
        names: of modules that a library imports wherever they are installed, and does without.
    """
    hidden = [name for name in names if name not in sys.modules]
    # None for a module is how Python is told that there is none ("The import system", 5.3.1).
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
