"""A receive whose answer is lost leases messages to nobody; a run does not end without them."""

from __future__ import annotations

from tests.acceptance.chaos.between import proxies_between
from tests.acceptance.chaos.job import Job
from tests.acceptance.command import collect

MESSAGES = 50


def test_a_run_waits_for_what_a_lost_answer_has_hidden(settings: dict[str, str]) -> None:
    settings = {**settings, "VISIBILITY_TIMEOUT": "6"}
    job = Job(settings)
    job.send(MESSAGES)
    with proxies_between(settings) as between:
        between.queue.fault("answer_lost", first=1, path=r"messages\?numofmessages=32")
        collect(between.settings)
        assert between.queue.counts == {"answer_lost": 1}
    job.assert_whole()
    # Those that were hidden were delivered a second time, and the queue was not thought empty.
    assert 2 in job.deliveries()
