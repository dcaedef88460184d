"""Drives a request from its first call to its end with a table of answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.messages import PlannedRequest, Resource
from stages.execute.client import Answer, ExchangeFailed
from stages.execute.steps import Again, Call, Done, Limits, Refusal, Step
from tests.unit.execute.made import LIMITS, ORIGIN, START_US, a_run, answer, planned, rows_in

Reply = Answer | ExchangeFailed
LOST = ExchangeFailed("ReadTimeoutError", "no byte for 60 s")
NOT_SENT = ExchangeFailed("NewConnectionError", "refused", sent=False)
ACTION = "/subscriptions/s1/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v/start"
KEYS = "/subscriptions/s1/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a/listKeys"
OK = answer(body={"id": "/a"})
HTML = answer(body=b"<html>")


class Ended:
    """How it went: calls made, steps between them, and the end."""

    def __init__(
        self,
        calls: list[Call],
        steps: list[Step],
        refusals: list[Refusal | None],
        done: Done,
    ) -> None:
        self.calls = calls
        self.steps = steps
        self.refusals = refusals
        self.outcome = done.outcome
        self.rows: list[Resource] = rows_in(done)

    @property
    def waits_s(self) -> list[float]:
        """How long each step but the last had to wait, for itself or with its scope."""
        return [
            refusal.wait_s if refusal is not None else step.after_s
            for step, refusal in zip(self.steps, self.refusals, strict=True)
            if isinstance(step, Again)
        ]


Drive = Callable[..., Ended]


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    """Answer a request's calls in order; the clock stands but for its waits."""

    def go(
        replies: Sequence[Reply], request: PlannedRequest | None = None, limits: Limits = LIMITS
    ) -> Ended:
        run = a_run(tmp_path, request or planned(), limits)
        calls, steps, refusals, now_s = [], [], [], 0.0
        for reply in replies:
            calls.append(run.call)
            now_us = START_US + int(now_s * 1e6)
            run.calling(now_s, now_us)
            if isinstance(reply, ExchangeFailed):
                step = run.unanswered(reply, now_s, now_us)
            else:
                step = run.answered(reply, now_s, now_us)
            steps.append(step)
            refusals.append(run.refusal)
            if isinstance(step, Done):
                assert len(calls) == len(replies), "it ended early"
                ended = Ended(calls, steps, refusals, step)
                assert step.outcome.attempts == len(calls)
                assert step.outcome.rows == len(ended.rows)
                run.close()
                return ended
            if run.refusal is not None:
                now_s += run.refusal.wait_s
            elif isinstance(step, Again):
                now_s += step.after_s
        raise AssertionError(f"it has not ended: {steps}")

    return go


def page(number: int, following: Any = None, **more: Any) -> Answer:
    return answer(body={"value": [{"id": f"/{number}"}], "nextLink": following, **more})


def link(number: int) -> str:
    return f"{ORIGIN}/list?page={number}"
