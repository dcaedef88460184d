"""Collectors whose processes die at hard places, and what tells that they have."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.entry_points import kind_of
from tests.acceptance.chaos.hooked import MARKERS_VARIABLE, PLACES_VARIABLE
from tests.acceptance.chaos.places import PLACES
from tests.acceptance.command import Running, collector
from tests.processes import is_gone, until

HOOKED = "tests.acceptance.chaos.hooked"
LIMIT_S = 90.0
# Stages that have lost their supervisor are gone within this.
ORPHANS_LIMIT_S = 30.0


class Deaths:
    """Places at which processes die, each once, in however many starts of a collector.

    Args:
        folder: for a marker of each death, and the collectors' output.
        places: names of :data:`PLACES`.
    """

    def __init__(self, folder: Path, places: Sequence[str]) -> None:
        self.places = places
        self._folder = folder
        self._markers = folder / "died"
        self._markers.mkdir()
        self._starts = 0

    @contextmanager
    def collector(self, settings: Mapping[str, str]) -> Iterator[Running]:
        """Start a collector whose processes die at the places where none has died yet."""
        self._starts += 1
        with collector(
            {
                **settings,
                PLACES_VARIABLE: ",".join(self.places),
                MARKERS_VARIABLE: str(self._markers),
            },
            self._folder / f"output-{self._starts}",
            module=HOOKED,
        ) as running:
            yield running

    def happened(self) -> set[str]:
        """Places at which a process has died."""
        # The name of the process is written in one go, just before its death.
        return {path.name for path in self._markers.iterdir() if path.read_text()}

    def await_all(self, places: Sequence[str] = ()) -> None:
        """Wait until a process has died at each of these places, or of all."""
        wanted = set(places or self.places)
        until(
            lambda: wanted <= self.happened(),
            LIMIT_S,
            f"nobody died at {sorted(wanted - self.happened())}",
        )

    def by_kind(self) -> Counter[str]:
        """How many processes of each kind have died, at whichever of their places.

        Two threads of one process may come to a place each before it is gone: that is one death.
        """
        who = {(path.read_text(), PLACES[path.name].process) for path in self._markers.iterdir()}
        return Counter(kind for _, kind in who)

    def await_no_process(self) -> None:
        """Wait until every process of these collectors is gone."""
        mark = f"{MARKERS_VARIABLE}={self._markers}".encode()
        until(lambda: not _processes_with(mark), ORPHANS_LIMIT_S, "processes are left")


def told(output: str) -> Counter[tuple[str, str]]:
    """Deaths that the supervisor told: kind of process, and cause."""
    lines = [json.loads(line) for line in output.splitlines() if '"stage_died"' in line]
    return Counter((kind_of(line["process"]), line["cause"]) for line in lines)


def _processes_with(mark: bytes) -> list[int]:
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        pid = int(environment.parent.name)
        try:
            there = mark in environment.read_bytes().split(b"\0")
        except OSError:  # gone, or another user's
            continue
        if there and not is_gone(pid):
            found.append(pid)
    return found
