"""What the simulated directory holds."""

from __future__ import annotations

from pipeline.sandbox.arm.directory import NAMES, Directory
from pipeline.sandbox.arm.tenant import Tenant


def directory(users: int = 250, seed: str = "simulator") -> Directory:
    tenant = Tenant(subscriptions=1, vms=1, groups=1, seed=seed)
    return Directory(tenant.id, users, tenant.guid)


def test_it_grows_with_its_people() -> None:
    assert directory().counts() == {
        "users": 250,
        "groups": 26,
        "servicePrincipals": 20,
        "applications": 13,
        "devices": 125,
        "organization": 1,
    }


def test_it_follows_from_the_seed() -> None:
    first, again, other = (directory(seed=seed).users.value(7) for seed in ("a", "a", "b"))
    assert first == again
    assert first["id"] != other["id"]
    assert first["displayName"] != other["displayName"]


def test_every_object_is_found_by_its_id_in_any_case() -> None:
    there = directory(60)
    for collection in there.collections.values():
        ids = [collection.id(k) for k in range(collection.count)]
        assert len(set(ids)) == collection.count
        assert [collection.value(k)["id"] for k in range(collection.count)] == ids
        found = [there.find(collection, id_.upper()) for id_ in ids]
        assert found == list(range(collection.count))


def test_no_two_people_share_a_principal_name() -> None:
    there = directory(NAMES + 100)
    names = [there.users.value(k)["userPrincipalName"] for k in range(there.users.count)]
    assert len(set(names)) == len(names)
    assert all(name.isascii() for name in names)
    assert there.find(there.users, names[NAMES + 1]) == NAMES + 1


def test_members_are_objects_and_come_once() -> None:
    there = directory(60)
    for group in range(there.groups.count):
        members = [(collection.name, k) for collection, k in there.members(group)]
        assert len(set(members)) == len(members) > 0
        assert all(k < there.collections[name.lower()].count for name, k in members)
    assert len(there.members(0)) == 60
    assert {collection.type for collection, _ in there.members(4)} == {"user", "servicePrincipal"}


def test_without_people_it_still_has_applications() -> None:
    empty = directory(0)
    assert list(empty.members(0)) == []
    assert empty.find(empty.users, "nobody@contoso.onmicrosoft.com") is None
    assert empty.counts()["applications"] == 3
