"""What the tenant holds."""

import uuid

import msgspec
import pytest

from pipeline.sandbox.arm.tenant import Tenant


@pytest.fixture(scope="module")
def tenant() -> Tenant:
    return Tenant(subscriptions=2, vms=20, groups=3)


def test_the_same_sizes_and_seed_are_the_same_tenant(tenant: Tenant) -> None:
    again = Tenant(2, 20, 3)
    vm = tenant.types["microsoft.compute/virtualmachines"]
    subscription = tenant.subscription_ids[1]
    assert again.subscription_ids == tenant.subscription_ids
    assert again.body(again.item(subscription, vm, 7)) == tenant.body(
        tenant.item(subscription, vm, 7)
    )


def test_another_seed_is_another_tenant(tenant: Tenant) -> None:
    assert not set(Tenant(2, 20, 3, "other").subscription_ids) & set(tenant.subscription_ids)


def test_guids_are_those_of_version_5(tenant: Tenant) -> None:
    guid = tenant.guid("a", "b")
    assert uuid.UUID(guid) == uuid.uuid5(tenant._root, "a|b")


def test_every_resource_is_found_again_by_its_name_in_any_case(tenant: Tenant) -> None:
    subscription = tenant.subscription_ids[0]
    for type_ in tenant.types.values():
        for k in range(tenant.count(type_) if type_.level != "plain" else 0):
            item = tenant.item(subscription, type_, k)
            assert tenant.find(subscription, type_, item.name.upper(), item.parent) is item


def test_ids_are_unique_over_the_tenant(tenant: Tenant) -> None:
    ids = [
        tenant.item(subscription, type_, k).id
        for subscription in tenant.subscription_ids
        for type_ in tenant.types.values()
        for k in range(tenant.count(type_))
    ]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    "name", ["vm-99999", "vm-1", "vm-", "vm-0000\uff11", "VM-00001x", "", "nope"]
)
def test_a_name_that_is_none_is_not_found(tenant: Tenant, name: str) -> None:
    vm = tenant.types["microsoft.compute/virtualmachines"]
    assert tenant.find(tenant.subscription_ids[0], vm, name) is None


def test_resource_groups_share_out_all_resources(tenant: Tenant) -> None:
    for type_ in tenant.types.values():
        if type_.level in {"group", "child"}:
            shares = [k for g in range(tenant.groups) for k in tenant.ordinals(type_, g)]
            assert sorted(shares) == list(tenant.ordinals(type_, None))


def test_a_machine_and_what_belongs_to_it_share_a_group(tenant: Tenant) -> None:
    subscription = tenant.subscription_ids[0]
    vm = tenant.item(subscription, tenant.types["microsoft.compute/virtualmachines"], 4)
    properties = tenant.value(vm)["properties"]
    storage = properties["storageProfile"]
    ids = [
        storage["osDisk"]["managedDisk"]["id"],
        storage["dataDisks"][0]["managedDisk"]["id"],
        properties["networkProfile"]["networkInterfaces"][0]["id"],
    ]
    assert all(f"/resourceGroups/{vm.group}/" in id_ for id_ in ids)


def test_a_machine_has_arms_shape_and_size(tenant: Tenant) -> None:
    vm = tenant.item(
        tenant.subscription_ids[0], tenant.types["microsoft.compute/virtualmachines"], 0
    )
    body = tenant.body(vm)
    value = msgspec.json.decode(body)
    assert 1200 <= len(body) <= 2200
    assert {"id", "name", "type", "location", "tags", "properties"} <= set(value)
    assert value["properties"]["hardwareProfile"]["vmSize"].startswith("Standard_")


def test_thousands_of_subscriptions_are_made_when_they_are_asked_for() -> None:
    tenant = Tenant(5000, 100, 5)
    vm = tenant.types["microsoft.compute/virtualmachines"]
    assert tenant._item.cache_info().currsize == 0
    tenant.body(tenant.item(tenant.subscription_ids[4999], vm, 99))
    assert tenant._item.cache_info().currsize < 10
