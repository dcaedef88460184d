"""Snowflake is away for longer than leases last: what is collected waits, and nothing comes twice.

An hour's outage, compressed: leases of three seconds stand for those of five minutes.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.chaos.between import Between, proxies_between
from tests.acceptance.chaos.job import Job
from tests.acceptance.command import collector
from tests.acceptance.stores import queue, tables
from tests.processes import until

LEASE_S = 3
# A lease is renewed at half of its life.
RENEWALS_A_LEASE = 2
# The outage goes on for so many leases once receiving has paused.
LEASES_AWAY = 3
SPOOL_BYTES = 400_000
SETTINGS = {
    "SPOOL_BYTES": str(SPOOL_BYTES),
    "VISIBILITY_TIMEOUT": str(LEASE_S),
    # Small, so that little is under way when the spool is full.
    "MAX_IN_FLIGHT": "20",
    "BATCH_SIZE": "60",
    "BATCH_BYTES": "400000",
    # A message that came twice would be poison.
    "MAX_DEQUEUE_COUNT": "1",
}
# More than the spool has room for.
MESSAGES = 200
# What may be under way when the spool gets full: requests in flight and an open batch.
UNDER_WAY_BYTES = 25 * 20_000


class Watch:
    """What the collector does to its queue from now on, as the proxy before it sees it."""

    def __init__(self, between: Between, job: Job) -> None:
        self._between = between
        self._job = job
        self._before = set(between.queue.requests)
        self._messages = f"/{between.settings['AZURE_QUEUE_NAME']}/messages"

    def receives(self) -> int:
        """How often it has asked for messages."""
        return sum(n for asked, n in self._asked("GET") if asked.endswith(self._messages))

    def renewals(self) -> dict[str, int]:
        """Renewals of messages that were first renewed since, by message."""
        renewed = ((asked, n) for asked, n in self._asked("PUT") if asked not in self._before)
        return {asked: n for asked, n in renewed if f"{self._messages}/" in asked}

    def stand(self) -> tuple[int, int]:
        """Receives and calls so far."""
        return self.receives(), self._job.calls()

    def await_renewals(self, each: int) -> None:
        """Wait until each lease that is held was renewed so many times more."""
        before = self.renewals()

        def renewed() -> bool:
            now = self.renewals()
            return bool(now) and all(n - before.get(m, 0) >= each for m, n in now.items())

        until(renewed, 20 * LEASE_S, "leases are not renewed")

    def _asked(self, method: str) -> list[tuple[str, int]]:
        requests = list(self._between.queue.requests.items())
        return [(asked, n) for asked, n in requests if asked.startswith(f"{method} ")]


def spooled_bytes(settings: dict[str, str]) -> int:
    return sum(path.stat().st_size for path in Path(settings["SPOOL_DIR"]).rglob("*.arrow"))


def waiting(job: Job) -> list[int]:
    """Deliveries of messages that wait in the queue."""
    with queue(job.settings) as client:
        return [int(message.dequeue_count or 0) for message in client.peek_messages(32)]


def lines_of(output: str, action: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines() if f'"action":"{action}"' in line]


def stable(watch: Watch, renewals: int) -> Callable[[], bool]:
    """Whether nothing is asked for while leases are renewed so many times."""

    def looked() -> bool:
        before = watch.stand()
        watch.await_renewals(renewals)
        return watch.stand() == before

    return looked


def test_what_is_collected_waits_in_the_spool_and_the_rest_in_the_queue(
    settings: dict[str, str], tmp_path: Path
) -> None:
    settings |= SETTINGS
    job = Job(settings)
    with proxies_between(settings) as between:
        module = "tests.acceptance.chaos.impatient"
        with collector(between.settings, tmp_path / "out", module=module) as running:
            running.await_stages()
            job.send(10)
            job.await_empty()

            between.snowflake.refuse()
            watch = Watch(between, job)
            away_s, passed = time.monotonic(), between.snowflake.passed
            calls = job.calls()
            job.send(MESSAGES)
            until(lambda: spooled_bytes(settings) >= SPOOL_BYTES, 60, "the spool does not fill")
            until(stable(watch, RENEWALS_A_LEASE), 60, "receiving does not pause")
            # Collection went on meanwhile, and no further than the spool has room for.
            assert job.calls() > calls
            full_bytes = spooled_bytes(settings)
            assert SPOOL_BYTES <= full_bytes <= SPOOL_BYTES + UNDER_WAY_BYTES
            assert job.left() == MESSAGES

            held = len(watch.renewals())
            assert stable(watch, LEASES_AWAY * RENEWALS_A_LEASE)()
            # What waits in the queue was never taken, and what was taken has not come back.
            assert spooled_bytes(settings) == full_bytes
            assert set(waiting(job)) == {0}
            assert len(watch.renewals()) == held
            assert job.left() == MESSAGES
            assert between.snowflake.passed == passed
            away_s = time.monotonic() - away_s

            between.snowflake.serve()
            back_s = time.monotonic()
            job.await_empty()
            back_s = time.monotonic() - back_s
            running.send(signal.SIGTERM)
            assert running.ended() == 0
        renewals = sum(watch.renewals().values())
    output = running.output
    assert lines_of(output, "lease_lost") == []
    assert not re.search(r'"action":"(stage_died|stage_failed|poisoned)"', output)
    job.assert_whole()
    with tables(settings) as session:
        deliveries = session.run(
            f"SELECT DISTINCT DEQUEUE_COUNT FROM REQUESTS WHERE MESSAGE_ID LIKE '{job.run}-%'"
        )
    assert deliveries == [(1,)]
    print(
        f"away {away_s:.0f} s, {away_s / LEASE_S:.0f} leases; spool {full_bytes:,} bytes of"
        f" {SPOOL_BYTES:,}; {held} of {MESSAGES} messages held, {renewals} renewals;"
        f" all loaded {back_s:.1f} s after it was back"
    )
