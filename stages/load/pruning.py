"""A running collector deletes old history by itself: once a day, while nothing waits to be loaded.

In a session of its own, so that whatever happens to it happens to no load.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from pipeline.config import Config
from pipeline.errors import CollectorError
from pipeline.logs import log
from stages.load import retention
from stages.load.session import Session, connect

EVERY_S = 24 * 3600.0
# Beside the spool, for collectors that run for minutes: its time of change is when it was done.
NAME = "pruned"


class Pruning:
    """Deletes what RETENTION_DAYS lets go, one step at a time. Not for more than one thread.

    Args:
        config: RETENTION_DAYS, DEDUPE_WINDOW, the SNOWFLAKE settings, and the spool's folder.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._path = config.spool_dir / NAME
        self._session: Session | None = None
        self._steps: list[retention.Step] | None = None
        self._gone: Counter[str] = Counter()
        self._done_s: float | None = None
        self._stopped = False

    def due(self, now_s: float) -> bool:
        """There is a step to take.

        Args:
            now_s: seconds since 1970.
        """
        if self._stopped or not self._config.retention_days:
            return False
        if self._steps is not None:
            return True
        if self._done_s is None:
            try:
                self._done_s = self._path.stat().st_mtime
            except OSError:
                self._done_s = 0.0
        # A clock that was set back must not end it.
        return not 0 <= now_s - self._done_s < EVERY_S

    def step(self, now_s: float) -> None:
        """Count what may go, or delete a part of it. An error ends it for a day, and is logged.

        Args:
            now_s: seconds since 1970.
        """
        try:
            self._step(now_s)
        except CollectorError as error:
            log.bind(action="prune_failed").warning(
                "old history is not deleted today, and tried again tomorrow: {}", error
            )
            self._done(now_s)

    def stop(self) -> None:
        """Take no further step."""
        self._stopped = True

    def close(self) -> None:
        """End the session, if one is open."""
        if self._session is not None:
            self._session.close()
            self._session = None
        self._steps = None

    def _step(self, now_s: float) -> None:
        if self._session is None:
            self._session = connect(self._config)
        if self._steps is None:
            days, window_s = self._config.retention_days, self._config.dedupe_window
            limit = retention.limit_of(datetime.fromtimestamp(now_s, UTC), days, window_s)
            self._steps = retention.plan(self._session, limit)
            self._gone.clear()
        else:
            step = self._steps[0]
            self._gone[step.sweep.table] += retention.delete(self._session, step)
            del self._steps[0]
        if not self._steps:
            self._done(now_s)
            log.bind(action="pruned", rows=dict(self._gone)).info(
                "deleted {} rows of old history", self._gone.total()
            )

    def _done(self, now_s: float) -> None:
        self.close()
        self._done_s = now_s
        try:
            self._path.touch()
        except OSError as error:
            log.bind(action="prune_not_noted").warning(
                "cannot note that old history was deleted, so it is looked for again: {}", error
            )
