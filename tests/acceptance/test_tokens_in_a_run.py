"""Tokens that end or are revoked while a collector runs, got by the real azure-identity."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from pipeline.sandbox.arm.control import SimulatorControl
from pipeline.sandbox.runner import Sandbox
from tests.acceptance.chaos.job import Job
from tests.acceptance.command import collector, command
from tests.processes import until
from tests.standins.entra import Entra

pytest_plugins = ["tests.standins.plugin"]

ARM = "https://management.azure.com"
# A token is renewed when half of this is over, and not sent in its last five seconds.
LIFE_S = 12
# So many of them end while calls are made.
ENDED = 2


class Expiring(Entra):
    """Entra ID whose tokens the simulator takes for as long as they last, and no longer."""

    def __init__(self, ca: trustme.CA, arm: SimulatorControl) -> None:
        self.arm = arm
        self.ends_s: dict[str, float] = {}
        self.revoked = False
        self._lock = threading.Lock()
        super().__init__(ca)

    def issue(self, audience: str) -> str:
        token = super().issue(audience)
        if audience == ARM:
            self.ends_s[token] = time.monotonic() + self.life_s
            self.tell()
        return token

    def tell(self) -> None:
        """Have the simulator take what lasts."""
        with self._lock:
            now_s = time.monotonic()
            lasting = [t for t, ends_s in self.ends_s.items() if ends_s > now_s]
            self.arm.settings(tokens=[] if self.revoked else lasting)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", arm_options=["--vms", "6"]) as up:
        yield up


@pytest.fixture
def entra(ca: trustme.CA, trusted: Path, sandbox: Sandbox) -> Iterator[Expiring]:
    with Expiring(ca, SimulatorControl(sandbox.settings["AZURE_ARM_ENDPOINT"])) as server:
        yield server


@pytest.fixture
def settings(
    sandbox: Sandbox, application: dict[str, str], trusted: Path, tmp_path: Path
) -> dict[str, str]:
    settings = {**sandbox.settings, **application, "REQUESTS_CA_BUNDLE": str(trusted)}
    del settings["AZURE_ACCESS_TOKEN"]
    return {**settings, "SPOOL_DIR": str(tmp_path / "spool"), "OPS_PORT": "0", "BATCH_TIMEOUT": "1"}


@pytest.fixture
def job(sandbox: Sandbox) -> Job:
    return Job(sandbox.settings)


def test_tokens_that_end_in_mid_run_cost_no_call(
    entra: Expiring, job: Job, settings: dict[str, str], tmp_path: Path
) -> None:
    entra.life_s = LIFE_S
    with collector(settings, tmp_path / "out") as running:
        running.await_stages()

        def ended() -> bool:
            entra.tell()
            job.send(1)
            return sum(ends_s < time.monotonic() for ends_s in entra.ends_s.values()) >= ENDED

        until(ended, 60.0, running.output)
        until(lambda: entra.tell() or job.left() == 0, 30.0)
        running.send(signal.SIGTERM)
        assert running.ended() == 0
    assert job.arm.stats()["by_status"].get("401", 0) == 0
    job.assert_whole()


@pytest.mark.soak
def test_a_token_that_is_revoked_and_not_replaced_is_an_outcome_that_says_why(
    entra: Expiring, job: Job, settings: dict[str, str], tmp_path: Path
) -> None:
    with collector(settings, tmp_path / "out") as running:
        running.await_stages()
        job.send(5)
        job.await_empty()
        done = job.requests
        entra.secret = "another, which the collector does not have"
        entra.revoked = True
        entra.tell()
        job.send(5)
        job.await_empty()
        running.send(signal.SIGTERM)
        assert running.ended() == 0
    assert job.outcomes()["forbidden"] == job.requests - done
    assert set(job.problems()) == {"NoToken"}
    assert "AADSTS7000215" in job.problems()["NoToken"]
    ended = command(["--until-empty"], settings)
    assert ended.code == 3
    assert "AADSTS7000215" in ended.err
