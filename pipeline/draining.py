"""The drain of a collector, in the order of the data.

A stage that dies meanwhile is replaced as ever, and the new one is asked to drain in its turn: so
what it held is still loaded, deleted and released, within the same time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from pipeline.child import Child
from pipeline.entry_points import kind_of
from pipeline.messages import Drain

# Parts of DRAIN_TIMEOUT kept back for the stages that drain later.
RESERVES = {"fetch": 0.9, "execute": 0.5, "batch": 0.4, "load": 0.1}
# However little is left of the time, a stage has so much.
LEAST_S = 0.5
# A little longer than the stage itself waits, so that it has the last word.
LAST_WORD_S = 0.5
POLL_S = 0.05


async def drain(
    children: Mapping[str, Child],
    comes_back: Callable[[Child], bool],
    wake: asyncio.Event,
    timeout_s: float,
) -> None:
    """Drain stage after stage; ``fetch`` again at the end, to delete and release.

    Args:
        children: by name.
        comes_back: whether another process will stand in the place of one that has died.
        wake: set when a child has said something, or died.
        timeout_s: DRAIN_TIMEOUT.
    """
    deadline_s = time.monotonic() + timeout_s
    for kind, reserve in RESERVES.items():
        await drain_kind(kind, children, comes_back, wake, deadline_s - reserve * timeout_s)
    await drain_kind("fetch", children, comes_back, wake, deadline_s, last=True)


async def drain_kind(
    kind: str,
    children: Mapping[str, Child],
    comes_back: Callable[[Child], bool],
    wake: asyncio.Event,
    until_s: float,
    *,
    last: bool = False,
) -> None:
    """Have the stages of a kind drain, until all have or the time is over.

    Args:
        kind: ``fetch``, ``execute``, …
        children: by name.
        comes_back: as for :func:`drain`.
        wake: likewise.
        until_s: when the time is over, monotonic seconds.
        last: nothing comes after this.
    """
    until_s = max(until_s, time.monotonic() + LEAST_S)
    after = tuple(name for name, child in children.items() if child.drained)
    waited_for = [child for name, child in children.items() if kind_of(name) == kind]
    for child in waited_for:
        child.drained = False
    asked: dict[str, int] = {}
    while waited_for and (now_s := time.monotonic()) < until_s + LAST_WORD_S:
        for child in waited_for:
            if child.ready and asked.get(child.name) != child.generation and now_s < until_s:
                asked[child.name] = child.generation
                child.send(Drain(until_s - now_s, last, after))
        await wait(wake, POLL_S)
        wake.clear()
        waited_for = [c for c in waited_for if not c.drained and (c.alive or comes_back(c))]


async def wait(event: asyncio.Event, timeout_s: float) -> None:
    """Wait for an event, and no longer than so many seconds."""
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return
