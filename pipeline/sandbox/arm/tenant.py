"""Which subscriptions, resource groups and resources exist.

Everything follows from the settings by arithmetic: nothing is stored but what caches hold, so a
tenant of thousands of subscriptions costs no more memory than a small one.
"""

from __future__ import annotations

import hashlib
import uuid
from functools import lru_cache
from typing import Any

import msgspec

from pipeline.sandbox.arm.catalogue import Item, ResourceType
from pipeline.sandbox.arm.shapes import TYPES

# Any fixed GUID: all others are derived from it (RFC 9562, version 5).
ROOT_GUID = uuid.UUID("7d3f7c0e-53c1-5f0b-9d0b-2f3c1c1a7f10")
LOCATIONS = (
    "westeurope",
    "northeurope",
    "eastus",
    "eastus2",
    "westus2",
    "uksouth",
    "germanywestcentral",
    "southeastasia",
)
ENVIRONMENTS = ("prod", "test", "dev", "staging")
TEAMS = ("payments", "search", "identity", "platform", "data")
# Name-to-ordinal tables of types whose names are GUIDs; each holds one subscription's.
INDEXES_MAX = 512
ITEMS_MAX = 20_000

_encode = msgspec.json.Encoder().encode


class Tenant:
    """A deterministic tenant.

    Args:
        subscriptions: how many.
        vms: virtual machines in each.
        groups: resource groups in each.
        seed: another seed, other ids.
    """

    def __init__(self, subscriptions: int, vms: int, groups: int, seed: str = "simulator") -> None:
        self.vms = vms
        self.groups = groups
        self._root = uuid.uuid5(ROOT_GUID, seed)
        self.id = self.guid("tenant")
        self.subscription_ids = [self.guid("subscription", str(i)) for i in range(subscriptions)]
        self._subscription_index = {id_: i for i, id_ in enumerate(self.subscription_ids)}
        self.types: dict[str, ResourceType] = {row.full.lower(): row for row in TYPES}
        self.namespaces: dict[str, str] = {}
        for row in TYPES:
            self.namespaces.setdefault(row.namespace.lower(), row.namespace)
        self.tracked = [row for row in TYPES if row.tracked and row.level in {"group", "child"}]
        self._ordinals = lru_cache(maxsize=4096)(self._ordinals_uncached)
        self._names = lru_cache(maxsize=INDEXES_MAX)(self._names_uncached)
        self._item = lru_cache(maxsize=ITEMS_MAX)(self._item_uncached)

    def guid(self, *parts: str) -> str:
        """A GUID that follows from these parts and the seed."""
        # uuid.uuid5 in a third of its time: bodies hold several GUIDs each.
        digest = hashlib.sha1(
            self._root.bytes + "|".join(parts).encode(), usedforsecurity=False
        ).hexdigest()
        variant = "89ab"[int(digest[16], 16) & 3]
        return (
            f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
        )

    # -- subscriptions and groups

    def has_subscription(self, subscription: str) -> bool:
        """Whether it exists; ids are lower case."""
        return subscription in self._subscription_index

    def subscription(self, subscription: str) -> dict[str, Any]:
        """ARM's body of a subscription."""
        number = self._subscription_index[subscription]
        environment = ENVIRONMENTS[number % len(ENVIRONMENTS)]
        return {
            "id": f"/subscriptions/{subscription}",
            "authorizationSource": "RoleBased",
            "managedByTenants": [],
            "tags": {"env": environment},
            "subscriptionId": subscription,
            "tenantId": self.id,
            "displayName": f"sub-{environment}-{number:04}",
            "state": "Enabled",
            "subscriptionPolicies": {
                "locationPlacementId": "Public_2014-09-01",
                "quotaId": "EnterpriseAgreement_2014-09-01",
                "spendingLimit": "Off",
            },
        }

    def group_name(self, index: int) -> str:
        return f"rg-{TEAMS[index % len(TEAMS)]}-{index:03}"

    def group_index(self, name: str) -> int | None:
        """Ordinal of a resource group by its name in any case; ``None`` if there is none."""
        tail = name.rpartition("-")[2]
        if not (tail.isascii() and tail.isdigit()) or len(tail) > 6:
            return None
        index = int(tail)
        exists = index < self.groups and self.group_name(index) == name.lower()
        return index if exists else None

    def group(self, subscription: str, index: int) -> dict[str, Any]:
        """ARM's body of a resource group."""
        name = self.group_name(index)
        return {
            "id": f"/subscriptions/{subscription}/resourceGroups/{name}",
            "name": name,
            "type": "Microsoft.Resources/resourceGroups",
            "location": self.location(index),
            "tags": self._tags(index),
            "properties": {"provisioningState": "Succeeded"},
        }

    def location(self, group_index: int) -> str:
        return LOCATIONS[group_index % len(LOCATIONS)]

    def _tags(self, number: int) -> dict[str, str]:
        return {
            "env": ENVIRONMENTS[number % len(ENVIRONMENTS)],
            "team": TEAMS[number % len(TEAMS)],
            "costCentre": f"CC-{1000 + number % 37}",
        }

    # -- resources

    def count(self, type_: ResourceType) -> int:
        """How many of a type each subscription has."""
        if (parent := type_.parent) is not None:
            return type_.each * self.count(self.types[parent])
        return type_.count(self.vms)

    def ordinals(self, type_: ResourceType, group_index: int | None) -> range | tuple[int, ...]:
        """Ordinals of a type's resources: in one resource group, or all for ``None``."""
        if group_index is None:
            return range(self.count(type_))
        return self._ordinals(type_, group_index)

    def _ordinals_uncached(self, type_: ResourceType, group_index: int) -> tuple[int, ...]:
        return tuple(
            k for k in range(self.count(type_)) if self._place(type_, k) in {group_index, None}
        )

    def _place(self, type_: ResourceType, k: int) -> int | None:
        """The resource group of the k-th, ``None`` at the subscription."""
        if (parent := type_.parent) is not None:
            return self._place(self.types[parent], k // type_.each)
        if type_.level == "subscription" or (type_.level == "scope" and k % 2 == 0):
            return None
        return k // type_.together % self.groups

    def children(self, type_: ResourceType, parent: Item) -> range:
        """Ordinals of a child type's resources in one parent."""
        return range(parent.k * type_.each, (parent.k + 1) * type_.each)

    def item(self, subscription: str, type_: ResourceType, k: int) -> Item:
        """The k-th resource of a type."""
        return self._item(subscription, type_.full, k)

    def item_at(self, subscription: str, type_name: str, k: int) -> Item:
        """The same by the type's name, with ``k`` taken modulo how many there are."""
        count = self.count(self.types[type_name.lower()])
        return self._item(subscription, self.types[type_name.lower()].full, k % max(1, count))

    def _item_uncached(self, subscription: str, full: str, k: int) -> Item:
        type_ = self.types[full.lower()]
        if (parent_type := type_.parent) is not None:
            parent = self.item(subscription, self.types[parent_type], k // type_.each)
            name = self._name(subscription, type_, k)
            leaf = type_.full.rpartition("/")[2]
            return Item(
                self,
                subscription,
                type_,
                k,
                group=parent.group,
                name=name,
                group_index=parent.group_index,
                location=parent.location,
                id_=f"{parent.id}/{leaf}/{name}",
                parent=parent,
            )
        place = self._place(type_, k)
        group = None if place is None else self.group_name(place)
        scope = f"/subscriptions/{subscription}"
        if group is not None:
            scope = f"{scope}/resourceGroups/{group}"
        name = self._name(subscription, type_, k)
        index = k // type_.together % self.groups
        return Item(
            self,
            subscription,
            type_,
            k,
            group=group,
            group_index=index,
            name=name,
            location=self.location(index),
            id_=f"{scope}/providers/{type_.full}/{name}",
        )

    def _name(self, subscription: str, type_: ResourceType, k: int) -> str:
        if isinstance(type_.name, tuple):
            names = type_.name
            return names[(k % type_.each if type_.each else k) % len(names)]
        if type_.name == "guid":
            return self.guid(subscription, type_.full, str(k))
        j = k % type_.each if type_.each else k
        return type_.name.format(k=k, j=j, s=subscription[:8])

    def find(
        self, subscription: str, type_: ResourceType, name: str, parent: Item | None = None
    ) -> Item | None:
        """A resource by its name in any case; ``None`` if there is none."""
        ordinals = self.children(type_, parent) if parent else range(self.count(type_))
        k = self._guess(subscription, type_, name.lower(), parent)
        if k is None or k not in ordinals:
            return None
        item = self.item(subscription, type_, k)
        return item if item.name.lower() == name.lower() else None

    def _guess(
        self, subscription: str, type_: ResourceType, name: str, parent: Item | None
    ) -> int | None:
        """The only ordinal that could have this name."""
        first = parent.k * type_.each if parent else 0
        if isinstance(type_.name, tuple):
            names = [known.lower() for known in type_.name]
            return first + names.index(name) if name in names else None
        if type_.name == "guid":
            return self._names(subscription, type_.full).get(name)
        by_ordinal = "{k" in type_.name
        prefix, brace, _ = type_.name.partition("{k" if by_ordinal else "{j")
        if not brace:
            return first
        prefix = prefix.format(s=subscription[:8]).lower()
        digits = name[len(prefix) :]
        if not name.startswith(prefix) or not digits.isdecimal() or len(digits) > 9:
            return None
        return int(digits) if by_ordinal else first + int(digits)

    def _names_uncached(self, subscription: str, full: str) -> dict[str, int]:
        type_ = self.types[full.lower()]
        return {self._name(subscription, type_, k).lower(): k for k in range(self.count(type_))}

    # -- bodies

    def value(self, item: Item) -> dict[str, Any]:
        """ARM's body of a resource."""
        if item.type.level == "plain":
            return item.type.shape(item)
        value: dict[str, Any] = {"id": item.id, "name": item.name, "type": item.type.full}
        if item.type.tracked:
            value["location"] = item.location
            value["tags"] = self._tags(item.k)
        value.update(item.type.shape(item))
        return value

    def body(self, item: Item) -> bytes:
        """The same as JSON."""
        return _encode(self.value(item))

    def row(self, item: Item) -> dict[str, Any]:
        """The body in the list of all resources: without its properties."""
        value = self.value(item)
        value.pop("properties", None)
        value.pop("etag", None)
        return value
