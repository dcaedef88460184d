"""``check_access`` against TLS stand-ins: its limits, and answers that are not ARM's."""

from __future__ import annotations

import pytest

from pipeline.config import Config, load
from pipeline.errors import Unreachable
from pipeline.permissions import Need
from stages.fetch import access_checks
from stages.fetch.access_checks import MAX_ASKED, check_access
from tests.standins.arm import Arm
from tests.standins.http_server import Answer, Fault

pytest_plugins = ["tests.standins.plugin"]

READER = [{"actions": ["*/read"], "notActions": []}]
NEEDS: tuple[Need, ...] = (("Microsoft.Compute/virtualMachines/read",),)


@pytest.fixture
def config(arm: Arm, application: dict[str, str]) -> Config:
    settings = {**application, "AZURE_ARM_ENDPOINT": arm.url}
    return load(overrides=settings, environ={}, needs=("arm",))


def names(count: int) -> list[str]:
    return [f"{n:08x}-0000-4000-8000-000000000000" for n in range(count)]


def test_no_more_than_its_limit_are_asked_and_in_order(config: Config, arm: Arm) -> None:
    many = names(MAX_ASKED + 5)
    arm.permissions = dict.fromkeys(many, READER)
    found = check_access(config, dict.fromkeys(many, NEEDS))
    assert [one.subscription_id for one in found] == many[:MAX_ASKED]
    assert {one.state for one in found} == {"granted"}
    assert arm.counts["permissions"] == MAX_ASKED


def test_past_its_time_nothing_more_is_asked(config: Config, arm: Arm) -> None:
    arm.permissions = dict.fromkeys(names(3), READER)
    found = check_access(config, dict.fromkeys(names(3), NEEDS), total_s=0.0)
    assert [(one.state, one.detail) for one in found] == [
        ("granted", ""),
        ("not known", "not asked in time"),
        ("not known", "not asked in time"),
    ]
    assert arm.counts["permissions"] == 1


def test_an_arm_that_is_silent_is_found_out_once(
    config: Config, arm: Arm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_checks, "READ_TIMEOUT_S", 0.3)
    arm.silent = True
    with pytest.raises(Unreachable, match="did not answer in time"):
        check_access(config, dict.fromkeys(names(20), NEEDS))
    assert arm.counts == {"silent": 1}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"<html>welcome</html>", "does not answer as ARM does"),
        (b'{"value":' + b"[" * 9_000, "does not answer as ARM does"),
        ({"value": [{"actions": "*"}]}, "does not answer as ARM does"),
        ({"value": [], "nextLink": "https://a.invalid/2"}, "not on the first page"),
    ],
)
def test_what_the_answer_does_not_tell_is_not_known(
    config: Config, arm: Arm, body: object, detail: str
) -> None:
    arm.permissions = dict.fromkeys(names(2), READER)
    arm.faults.append(Fault(Answer(200, body), names(1)[0]))
    first, second = check_access(config, dict.fromkeys(names(2), NEEDS))
    assert arm.counts["failed"] == 1
    assert first.state == "not known"
    assert detail in first.detail
    assert second.state == "granted"
