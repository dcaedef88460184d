"""The service table: what a row must say, and how a name is found in it."""

from __future__ import annotations

import re

import pytest

from pipeline.message_format.services import SERVICES, Service, closest, lookup

NEEDED = [
    "compute",
    "network",
    "storage",
    "keyvault",
    "sql",
    "web",
    "containerservice",
    "resources",
    "authorization",
    "monitor",
    "resourcegraph",
    "subscriptions",
    "policy",
    "security",
    "costmanagement",
    "advisor",
    "containerregistry",
    "cosmosdb",
    "redis",
    "servicebus",
    "eventhub",
    "operationalinsights",
]


@pytest.mark.parametrize("name", NEEDED)
def test_the_services_people_start_with_are_there(name: str) -> None:
    service = lookup(name)
    assert service is not None
    assert service.name == name


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
def test_a_row_is_whole(service: Service) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,63}", service.name)
    assert re.fullmatch(r"Microsoft\.[A-Za-z]+", service.provider)
    assert service.versions
    assert list(service.versions) == sorted(set(service.versions), reverse=True)
    assert service.purpose
    assert service.example_path.startswith("/")
    assert set(re.findall(r"\{(\w+)\}", service.example_path)) <= {"subscriptionId"}


def test_the_table_is_in_order_and_has_no_name_twice() -> None:
    assert list(SERVICES) == sorted(SERVICES)


def test_an_unknown_name_has_no_row_and_a_slip_has_a_hint() -> None:
    assert lookup("computer") is None
    assert closest("computer") == "compute"
    assert closest("key-vault") == "keyvault"
    assert closest("something-else") is None
    assert closest("compute") is None
