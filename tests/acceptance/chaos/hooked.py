"""``python -m pipeline`` whose processes kill themselves at hard places, each place once.

There is no way to it in the product. A place is wrapped only in the process that is to die there.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.entry_points import kind_of
from tests.acceptance.chaos.in_stages import in_every_stage
from tests.acceptance.chaos.places import PLACES, SUPERVISOR, Call, Place, When

# Names of places, with commas between them.
PLACES_VARIABLE = "CHAOS_PLACES"
# A folder that gets a file for each place at which a process has died.
MARKERS_VARIABLE = "CHAOS_MARKERS"


def wrapped(
    place: Place, real: Callable[..., Any], first_here: Callable[[], bool]
) -> Callable[..., Any]:
    """What a place names, with this process's death before it, after it or in its middle.

    Args:
        place: when it is, and which calls count.
        real: what the place names.
        first_here: whether nobody has died here yet.
    """
    passings = itertools.count(1)

    def die_if(when: When, *call: Any) -> None:
        if dies(when, *call):
            _die()

    def dies(when: When, *call: Any) -> bool:
        counts = place.when is when and place.counts(Call(*call))
        return counts and next(passings) == place.passing and first_here()

    @functools.wraps(real)
    def called(*arguments: Any, **named: Any) -> Any:
        die_if(When.BEFORE, arguments, named)
        result = real(*arguments, **named)
        die_if(When.AFTER, arguments, named, result)
        return result

    @functools.wraps(real)
    async def awaited(*arguments: Any, **named: Any) -> Any:
        die_if(When.BEFORE, arguments, named)
        result = await real(*arguments, **named)
        die_if(When.AFTER, arguments, named, result)
        return result

    @functools.wraps(real)
    def written(link: Any, data: bytes) -> Any:
        if dies(When.HALF, (link, data)):
            real(link, data[: len(data) // 2])
            _die()
        return real(link, data)

    if place.when is When.HALF:
        return written
    return awaited if inspect.iscoroutinefunction(real) else called


def find(where: str) -> tuple[Any, str, Any]:
    """What holds the thing that ``where`` names, its name there, and the thing.

    Raises:
        AttributeError, ImportError: it is no longer there.
    """
    module, _, path = where.partition(":")
    *outer, name = path.split(".")
    holder = functools.reduce(getattr, outer, importlib.import_module(module))
    return holder, name, getattr(holder, name)


def arm(process: str) -> None:
    """Wrap this process's places."""
    folder = Path(os.environ[MARKERS_VARIABLE])
    for name in os.environ[PLACES_VARIABLE].split(","):
        place = PLACES[name]
        if place.process == kind_of(process):
            holder, attribute, real = find(place.where)
            setattr(holder, attribute, wrapped(place, real, functools.partial(_mark, folder, name)))


def _mark(folder: Path, name: str) -> bool:
    """Whether nobody has died at this place yet; says who is about to."""
    said = folder.parent / f"{name} {os.getpid()} {threading.get_ident()}"
    said.write_text(f"{multiprocessing.current_process().name} {os.getpid()}")
    try:
        # Whole or not at all: another thread may be about to kill this process.
        os.link(said, folder / name)
    except FileExistsError:
        return False
    return True


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    from pipeline.cli import main

    arm(SUPERVISOR)
    in_every_stage(arm)
    sys.exit(main())
