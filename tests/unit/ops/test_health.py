"""What the probes are told."""

from __future__ import annotations

import pytest

from pipeline.ops import health

UP = dict.fromkeys(("fetch", "execute-0", "batch", "load"), health.READY)
NEAR = {"queue": 1.0, "snowflake": 70.0}


def state(**changed: object) -> str:
    known = {"alive": True, "beaten": True, "ready": True, "heartbeat_age_s": 0.4, "limit_s": 30}
    return health.process_state(**{**known, **changed})


def test_the_state_of_a_process() -> None:
    assert state() == health.READY
    assert state(alive=False) == health.DOWN
    assert state(ready=False) == health.STARTING
    assert state(beaten=False, heartbeat_age_s=20) == health.STARTING
    assert state(heartbeat_age_s=11) == health.SILENT
    assert state(heartbeat_age_s=4, limit_s=3) == health.SILENT


def test_alive_means_that_every_stage_answers() -> None:
    assert health.alive(UP, UP).ok
    starting = {**UP, "load": health.STARTING}
    assert health.alive(starting, UP).ok, "it answers, and may still connect"
    assert health.alive(starting, ["fetch"]).ok is False
    for bad in (health.DOWN, health.SILENT):
        judged = health.alive({**UP, "load": bad}, UP)
        assert (judged.ok, judged.why) == (False, [f"load is {bad}"])


@pytest.mark.parametrize(
    ("state", "states", "ages", "why"),
    [
        ("collecting", UP, NEAR, []),
        ("starting", UP, NEAR, ["the collector is starting"]),
        ("draining", UP, NEAR, ["the collector is draining"]),
        ("collecting", {**UP, "load": health.DOWN}, NEAR, ["load is down"]),
        ("collecting", UP, {**NEAR, "queue": None}, ["queue has not answered lately"]),
        ("collecting", UP, {**NEAR, "snowflake": 76.0}, ["snowflake has not answered lately"]),
        ("collecting", UP, {"queue": 0.0}, ["snowflake has not answered lately"]),
    ],
)
def test_ready_means_that_it_collects_and_reaches_what_it_needs(
    state: str, states: dict[str, str], ages: dict[str, float | None], why: list[str]
) -> None:
    judged = health.ready(state, states, ages)
    assert (judged.ok, judged.why) == (not why, why)
