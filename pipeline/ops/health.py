"""Whether the collector is alive, and whether it is ready. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

READY, STARTING, SILENT, DOWN = "ready", "starting", "silent", "down"
# A process that beats twice a second and has not for so long is silent, unless HEARTBEAT_LIMIT,
# after which it is killed, is shorter.
SILENT_AFTER_S = 10.0
# Whoever is idle asks its dependency every 30 seconds; one question may take long, or get lost.
REACHED_WITHIN_S = 75.0
DEPENDENCIES = ("queue", "snowflake")


class Judged(Struct, frozen=True, omit_defaults=True):
    """What a probe is told.

    Attributes:
        ok: the answer is 200, or else 503.
        status: in a word.
        why: what is wrong, one sentence each.
        processes: state of each, by name.
        dependencies: whether each is within reach.
    """

    ok: bool
    status: str
    why: list[str]
    processes: dict[str, str]
    dependencies: dict[str, bool] = field(default_factory=dict)


def process_state(
    *, alive: bool, beaten: bool, ready: bool, heartbeat_age_s: float, limit_s: float
) -> str:
    """The state of a stage's process.

    Args:
        alive: there is a process.
        beaten: it has answered once.
        ready: it has said that it stands.
        heartbeat_age_s: seconds since it has last answered.
        limit_s: HEARTBEAT_LIMIT.
    """
    if not alive:
        return DOWN
    if beaten and heartbeat_age_s > min(SILENT_AFTER_S, limit_s):
        return SILENT
    return READY if ready and beaten else STARTING


def is_reached(age_s: float | None) -> bool:
    """Whether an answer of this age will do; None: there was none."""
    return age_s is not None and age_s <= REACHED_WITHIN_S


def alive(states: Mapping[str, str], answering: Iterable[str]) -> Judged:
    """The supervisor is: it says so. So every stage has to answer.

    Args:
        states: of the processes, by name.
        answering: those that have answered, ready or not.
    """
    heard = set(answering)
    why = [
        f"{name} is {state}" if state in (DOWN, SILENT) else f"{name} has not answered yet"
        for name, state in states.items()
        if state in (DOWN, SILENT) or name not in heard
    ]
    return Judged(not why, "failing" if why else "ok", why, dict(states))


def ready(state: str, states: Mapping[str, str], ages: Mapping[str, float | None]) -> Judged:
    """It takes messages and can load them.

    Args:
        state: ``starting``, ``collecting`` or ``draining``.
        states: of the processes, by name.
        ages: of each dependency's last answer.
    """
    reached = {name: is_reached(ages.get(name)) for name in DEPENDENCIES}
    why = [] if state == "collecting" else [f"the collector is {state}"]
    why += [f"{name} is {found}" for name, found in states.items() if found != READY]
    why += [f"{name} has not answered lately" for name, within in reached.items() if not within]
    return Judged(not why, "not ready" if why else "ready", why, dict(states), reached)
