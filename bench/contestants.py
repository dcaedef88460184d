"""Who takes part: how each is started, and how what it collected is counted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.scenarios import COLLECTOR, FLOOR
from bench.stand import BenchError, Place, environment
from bench.work import Work
from stages.load.session import Session

ROOT = Path(__file__).parents[1]
PEERS_FOLDER = ROOT / "bench" / "peers"
# Calls that a peer has under way at most, as its program says.
CALLS_AT_ONCE = {"script": 25, "azure-sdk": 25, "dlt": 25, "aiohttp": 50, FLOOR: 1}
URLS_FILE = "urls.txt"

_FILES = {
    "script": "script.py",
    "azure-sdk": "azure_sdk.py",
    "dlt": "dlt_rest.py",
    "aiohttp": "aiohttp_script.py",
    FLOOR: "pycurl_floor.py",
}
_TITLES = {
    "script": "requests, 25 threads",
    "azure-sdk": "azure-mgmt-compute, 25 threads",
    "dlt": "dlt REST source, 25 workers",
    "aiohttp": "aiohttp, 50 at once",
    FLOOR: "pycurl, bytes only",
}


@dataclass(frozen=True)
class Contestant:
    """One of them.

    Attributes:
        name: ``collector``, a peer's, or the floor's.
        profile: of the collector.
    """

    name: str
    profile: str = ""

    @property
    def is_collector(self) -> bool:
        """Whether it is this project's own."""
        return self.name == COLLECTOR

    @property
    def loads(self) -> bool:
        """Whether it reads the queue and fills the table."""
        return self.name != FLOOR

    @property
    def title(self) -> str:
        """For a table."""
        return f"collector, `{self.profile}`" if self.is_collector else _TITLES[self.name]

    def command(self, *, until_empty: bool = True) -> list[str]:
        """Its program and arguments.

        Args:
            until_empty: the collector ends with the queue; the peers always do.
        """
        if self.is_collector:
            ending = ["--until-empty"] if until_empty else []
            return [sys.executable, "-m", "pipeline", *ending, "--profile", self.profile]
        arguments = [] if self.loads else [URLS_FILE]
        return [sys.executable, str(PEERS_FOLDER / _FILES[self.name]), *arguments]

    def environment(self, place: Place) -> dict[str, str]:
        """Its whole environment; none of this machine's own settings are in it."""
        return environment(
            {
                **place.settings,
                "PYTHONPATH": str(ROOT),
                "OPS_PORT": "0",
                "LOG_FORMAT": "json",
            }
        )

    def collected(self, session: Session, work: Work) -> None:
        """Find every row once.

        Raises:
            BenchError: the tables are not what was asked for.
        """
        if self.is_collector:
            [(requests, complete)] = session.run(
                'SELECT COUNT(*), COUNT_IF("OUTCOME" = \'complete\') FROM "REQUESTS"'
            )
            if {int(requests), int(complete)} != {work.requests}:
                raise BenchError(
                    f"{work.requests:,} requests were sent; REQUESTS has {requests:,}, "
                    f"{complete:,} of them complete"
                )
        [counts] = session.run(
            "SELECT COUNT(*), COUNT(DISTINCT LOWER(RESOURCE_ID)), COUNT(BODY) FROM RESOURCES"
        )
        if {int(count) for count in counts} != {work.rows}:
            raise BenchError(
                f"{work.rows:,} rows were expected; RESOURCES has {counts[0]:,}, of "
                f"{counts[1]:,} resources, {counts[2]:,} with a body"
            )


def contestants(names: Sequence[str], profile: str) -> list[Contestant]:
    """These, the collector with this profile."""
    return [Contestant(name, profile if name == COLLECTOR else "") for name in names]
