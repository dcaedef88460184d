"""What ``fetch`` counts: series of :mod:`pipeline.metrics.catalogue`."""

from __future__ import annotations

from pipeline.metrics.series import series_of

RECEIVED = series_of("messages_received_total")
DELETED = series_of("messages_finished_total", "deleted")
POISONED = series_of("messages_finished_total", "poisoned")
RELEASED = series_of("messages_finished_total", "released")
# Someone else has the message now.
LOST = series_of("messages_finished_total", "lost")
PUT_OFF = series_of("messages_put_off_total")
LEASES_LOST = series_of("leases_lost_total")
REGAINED = series_of("leases_regained_total")
REDONE = series_of("requests_redone_total")
WORKERS_KILLED = series_of("workers_killed_total")

# Shown from the start, so that their rates have a beginning.
FROM_THE_START = dict.fromkeys((DELETED, POISONED, RELEASED, LOST), 0)
