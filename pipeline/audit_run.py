"""What the audit log says of one run of the collector: as whom, with what, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import __version__
from pipeline.audit import AuditLog, identities, open_audit
from pipeline.config import Config
from pipeline.config.settings import SETTINGS
from pipeline.errors import EXIT_UNEXPECTED, CollectorError
from pipeline.logs import log
from pipeline.settings_note import changed_since

# As in the ordinary log.
PROCESS = "supervisor"


class Run:
    """A run that goes on.

    Attributes:
        exit_code: what it will end with.
    """

    def __init__(self) -> None:
        self.exit_code = EXIT_UNEXPECTED


@contextmanager
def audited(config: Config, folder: Path) -> Iterator[Run]:
    """Tell of the start of a run, and of its end.

    Args:
        config: as the collector was given it, secrets resolved.
        folder: which no other collector uses.

    Raises:
        ConfigError: the audit log cannot be written to, so nothing is begun.
    """
    audit = open_audit(config, PROCESS)
    began_s = time.monotonic()
    run = Run()
    try:
        audit.tell_first(
            "collector_started",
            "the collector starts",
            version=__version__,
            profile=config.profile,
            queues=list(config.azure_queue_name),
            identities=identities(config),
        )
        _tell_settings(audit, config, folder)
        try:
            yield run
        except CollectorError as error:
            run.exit_code = error.exit_code
            raise
        finally:
            audit.tell(
                "collector_stopped",
                "the collector has ended",
                exit_code=run.exit_code,
                seconds=round(time.monotonic() - began_s, 1),
            )
    finally:
        audit.close()


def _tell_settings(audit: AuditLog, config: Config, folder: Path) -> None:
    names = [setting.name for setting in SETTINGS]
    audit.tell(
        "settings_in_force",
        "the settings in force",
        settings={name: shown for name in names if (shown := config.shown(name))},
        sources={name: where for name, where in config.sources.items() if where != "default"},
    )
    try:
        changed = changed_since(config, folder)
    except OSError as error:
        log.bind(action="settings_not_noted", folder=str(folder)).warning(
            "the next start cannot tell which settings have changed: {}", error
        )
        return
    if changed:
        audit.tell(
            "settings_changed", "settings are others than at the last start", settings=changed
        )
