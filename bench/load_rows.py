"""Rows as ``execute`` sends them: answers of Azure Resource Manager, each different, one size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import blake2b
from uuid import UUID

from pipeline.messages import LeaseRef, Outcome, RequestKey, Resource, Rows

BODY_BYTES = 1_200
# Of a request: ARM's list of virtual machines has some hundred a page, and a subscription several.
ROWS_PER_REQUEST = 1_000
# A frame is sent once its rows take this much, as ``execute`` does.
FRAME_BYTES = 1024 * 1024
ROWS_PER_FRAME = FRAME_BYTES // (BODY_BYTES + 256)
SUBSCRIPTIONS = 20
LOCATIONS = ("westeurope", "northeurope", "eastus2", "southeastasia")
SIZES = ("Standard_D2s_v5", "Standard_E8ds_v5", "Standard_F16s_v2", "Standard_B1ms")
TYPE = "Microsoft.Compute/virtualMachines"


def frames(rows: int, enqueued_at_us: int) -> Iterator[Rows]:
    """All frames of so many rows, request by request; each request is a message of its own.

    Args:
        rows: of all of them; a last, smaller request takes what is left over.
        enqueued_at_us: of the first message, microseconds since 1970; the others follow it.
    """
    for number, first in enumerate(range(0, rows, ROWS_PER_REQUEST)):
        of_request = min(ROWS_PER_REQUEST, rows - first)
        lease = LeaseRef(
            lease_id=number + 1,
            attempt=number + 1,
            queue="bench",
            queue_message_id=f"{number:08x}-0000-4000-8000-000000000000",
            pop_receipt="AgAAAAMAAAAAAAAA0lUo7aNX2gE=",
            message_id=f"bench-{number:08d}",
            correlation_id=None,
            enqueued_at_us=enqueued_at_us + number,
            dequeue_count=1,
            requests=1,
        )
        subscription = subscription_of(number)
        key = RequestKey(0, "compute", "GET", "2024-07-01", subscription)
        for begin in range(0, of_request, ROWS_PER_FRAME):
            end = min(begin + ROWS_PER_FRAME, of_request)
            resources = [
                resource(first + n, subscription, lease.enqueued_at_us) for n in range(begin, end)
            ]
            last = end == of_request
            yield Rows(lease, key, resources, _outcome(of_request, lease) if last else None)


def subscription_of(request: int) -> str:
    """The subscription that a request asks."""
    return str(UUID(int=0x5B << 120 | request % SUBSCRIPTIONS))


def resource(number: int, subscription: str, collected_at_us: int) -> Resource:
    """A virtual machine: its row, with a body of :data:`BODY_BYTES`."""
    group, name = f"rg-production-{number % 97:02d}", f"vm-{number:09d}"
    resource_id = f"/subscriptions/{subscription}/resourceGroups/{group}/providers/{TYPE}/{name}"
    location = LOCATIONS[number % len(LOCATIONS)]
    body = _body(number, resource_id, name, location)
    digest = blake2b(body, digest_size=16).hexdigest()
    return Resource(
        row_key=blake2b(f"{number}".encode(), digest_size=16).hexdigest(),
        resource_id=resource_id,
        resource_type=TYPE,
        name=name,
        location=location,
        subscription_id=subscription,
        resource_group=group,
        body=body,
        body_hash=digest,
        collected_at_us=collected_at_us,
    )


def _body(number: int, resource_id: str, name: str, location: str) -> bytes:
    seed = blake2b(str(number).encode(), digest_size=32).hexdigest()
    machine = {
        "id": resource_id,
        "name": name,
        "type": TYPE,
        "location": location,
        "zones": [str(1 + number % 3)],
        "tags": {"owner": f"team-{number % 41}", "cost-centre": seed[:6], "environment": "prod"},
        "properties": {
            "vmId": str(UUID(seed[:32])),
            "hardwareProfile": {"vmSize": SIZES[number % len(SIZES)]},
            "provisioningState": "Succeeded",
            "timeCreated": f"2025-{1 + number % 12:02d}-{1 + number % 28:02d}T07:14:31.5123456Z",
            "osProfile": {"computerName": name, "adminUsername": f"admin{number % 7}"},
            "storageProfile": {
                "imageReference": {
                    "publisher": "Canonical",
                    "offer": "0001-com-ubuntu-server-jammy",
                    "sku": "22_04-lts-gen2",
                    "version": "latest",
                },
                "osDisk": {
                    "osType": "Linux",
                    "name": f"{name}_OsDisk_1_{seed[:32]}",
                    "createOption": "FromImage",
                    "caching": "ReadWrite",
                    "diskSizeGB": 30 + number % 100,
                },
            },
            "networkProfile": {"networkInterfaces": [{"id": f"{resource_id}-nic-{seed[32:40]}"}]},
        },
        "etag": "",
    }
    encoded = json.dumps(machine, separators=(",", ":"))
    # What is left to the size is a text of its own for each row, as digests and keys are.
    filler = (seed * (1 + BODY_BYTES // len(seed)))[: BODY_BYTES - len(encoded)]
    return f'{encoded[:-3]}"{filler}"}}'.encode()


def _outcome(rows: int, lease: LeaseRef) -> Outcome:
    return Outcome(
        outcome="complete",
        url="https://management.azure.com/subscriptions/…/virtualMachines?api-version=2024-07-01",
        status_code=200,
        error_code=None,
        error_message=None,
        pages=5,
        rows=rows,
        attempts=5,
        latency_ms=1_250,
        azure_request_id=None,
        started_at_us=lease.enqueued_at_us,
        completed_at_us=lease.enqueued_at_us + 1_250_000,
        source="provider",
    )
