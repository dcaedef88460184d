"""Changing something in every stage's process, from a main module that runs the collector."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pipeline import launch


def in_every_stage(change: Callable[[str], None]) -> None:
    """Have this called in each process of a stage, with its name, before it becomes the stage.

    Processes are forked from this one: what is wrapped here is wrapped when they begin.
    """
    main = launch._main

    @functools.wraps(main)
    def changed(entry: str, name: str, *rest: Any) -> None:
        change(name)
        main(entry, name, *rest)

    launch._main = changed
