"""Answers of any size, and answers that are kept ready while settings change."""

from __future__ import annotations

import json

import msgspec
import pytest

from pipeline.sandbox.arm.padding import padded
from pipeline.sandbox.arm.settings import Settings
from pipeline.sandbox.arm.simulator import Simulator
from pipeline.sandbox.arm.tenant import Tenant
from pipeline.sandbox.arm.wire import Request

TENANT = Tenant(1, 100, 5)
DISKS = f"/subscriptions/{TENANT.subscription_ids[0]}/providers/Microsoft.Compute/disks"
QUERY = "?api-version=2024-07-01"
HEADERS = {b"host": b"127.0.0.1:1", b"authorization": b"Bearer any"}
DISK = TENANT.item_at(TENANT.subscription_ids[0], "Microsoft.Compute/disks", 3)
BODY = TENANT.body(DISK)
# The shortest that can be added.
LEAST_MORE_BYTES = len(b',"resources":[{"name":""}]')


def get(simulator: Simulator, path: str) -> bytes:
    answer = simulator.handle(Request("GET", path + QUERY, dict(HEADERS)))
    assert answer.status == 200, answer.body
    return answer.body


@pytest.mark.parametrize("size_bytes", [len(BODY) + LEAST_MORE_BYTES, 1_200, 1_500, 20_000])
def test_a_resource_is_made_exactly_as_long_as_asked(size_bytes: int) -> None:
    body = padded(BODY, DISK, size_bytes)
    assert len(body) == size_bytes
    assert json.loads(BODY).items() <= json.loads(body).items()


@pytest.mark.parametrize("size_bytes", [0, len(BODY), len(BODY) + LEAST_MORE_BYTES - 1])
def test_where_there_is_no_room_for_more_it_stays_as_it_is(size_bytes: int) -> None:
    assert padded(BODY, DISK, size_bytes) == BODY


def test_single_resources_have_the_size_of_the_settings_and_rows_of_lists_do_not() -> None:
    simulator = Simulator(Settings(subscriptions=1, answer_bytes=5_000, buckets=False))
    assert len(get(simulator, DISK.id)) == 5_000
    rows = json.loads(get(simulator, DISKS))["value"]
    assert max(len(json.dumps(row)) for row in rows) < 2_000


def test_what_is_ready_does_not_outlive_the_page_size_it_was_made_with() -> None:
    settings = Settings(subscriptions=1, buckets=False)
    simulator = Simulator(settings)
    assert len(json.loads(get(simulator, DISKS))["value"]) == settings.page_size
    simulator.configure(msgspec.structs.replace(settings, page_size=7), None, None)
    assert len(json.loads(get(simulator, DISKS))["value"]) == 7
    simulator.reset()
    assert len(json.loads(get(simulator, DISKS))["value"]) == settings.page_size
