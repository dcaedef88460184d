"""What a row of the catalogue of resource types says, and how a resource refers to others."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

if TYPE_CHECKING:
    from pipeline.sandbox.arm.tenant import Tenant

T = TypeVar("T")

# A body without id, name, type, location and tags, which the tenant adds.
Shape = Callable[["Item"], dict[str, Any]]

Level = Literal["group", "subscription", "scope", "child", "plain"]


def fixed(**values: Any) -> Shape:
    """A shape that is the same for every resource."""
    return lambda _: dict(values)


class ResourceType(msgspec.Struct, frozen=True, kw_only=True):
    """One resource type of the tenant.

    Attributes:
        full: namespace and type in ARM's case, e.g. ``Microsoft.Compute/virtualMachines``.
        shape: makes a body.
        base: how many each subscription has, whatever its size.
        per_vm: and how many more for each of its virtual machines.
        each: for a child type, how many each parent has.
        name: template with ``{k}`` the ordinal, ``{j}`` the ordinal in its parent, ``{s}`` the
            first 8 digits of the subscription id; ``guid`` is a GUID; or a tuple of all names.
        together: so many neighbours share a resource group.
        level: ``group`` in resource groups; ``subscription`` at the subscription; ``scope`` at
            either; ``child`` of the type its name begins with; ``plain`` rows that are not
            resources: they have no id but what the shape gives them.
        tracked: has a location and tags, and is in the list of all resources.
    """

    full: str
    shape: Shape
    base: int = 0
    per_vm: float = 0.0
    each: int = 0
    name: str | tuple[str, ...] = "guid"
    together: int = 1
    level: Level = "group"
    tracked: bool = True

    def count(self, vms: int) -> int:
        """How many a subscription with this many virtual machines has (not for a child)."""
        return self.base + int(self.per_vm * vms)

    @property
    def namespace(self) -> str:
        return self.full.partition("/")[0]

    @property
    def parent(self) -> str | None:
        """Type of the parent, lower case; ``None`` if it is not a child."""
        return self.full.rpartition("/")[0].lower() if self.level == "child" else None


class Item:
    """One resource: who it is, and deterministic choices for its body.

    Attributes:
        tenant: where it lives.
        subscription: id of its subscription.
        type: its row of the catalogue.
        k: ordinal among its type in its subscription.
        group: its resource group, or ``None`` at the subscription.
        group_index: ordinal of the resource group its place follows from.
        name: leaf name.
        location: of its resource group.
        id: ARM's id.
        parent: for a child.
    """

    __slots__ = (
        "group",
        "group_index",
        "id",
        "k",
        "location",
        "name",
        "parent",
        "seed",
        "subscription",
        "tenant",
        "type",
    )

    def __init__(
        self,
        tenant: Tenant,
        subscription: str,
        type_: ResourceType,
        k: int,
        *,
        group: str | None,
        group_index: int,
        name: str,
        location: str,
        id_: str,
        parent: Item | None = None,
    ) -> None:
        self.tenant = tenant
        self.subscription = subscription
        self.type = type_
        self.k = k
        self.group = group
        self.group_index = group_index
        self.name = name
        self.location = location
        self.id = id_
        self.parent = parent
        self.seed = zlib.crc32(id_.encode())

    def guid(self, what: str = "") -> str:
        """A GUID of this resource's own; another ``what``, another GUID."""
        return self.tenant.guid(self.id, what)

    def number(self, what: str, low: int, high: int) -> int:
        """A number from ``low`` to ``high``, both included, that stays the same."""
        return low + zlib.crc32(what.encode(), self.seed) % (high - low + 1)

    def pick(self, what: str, *options: T) -> T:
        """One of these, always the same."""
        return options[zlib.crc32(what.encode(), self.seed) % len(options)]

    def time(self, what: str = "created", digits: int = 7) -> str:
        """A time in 2021 to 2025 in UTC, e.g. ``2023-04-01T08:03:55.1234567Z``."""
        number = self.number(what, 0, 0x7FFFFFFF)
        year, month, day = 2021 + number % 5, 1 + number // 5 % 12, 1 + number // 60 % 28
        clock = f"{number // 7 % 24:02}:{number // 11 % 60:02}:{number // 13 % 60:02}"
        fraction = f".{number % 10**digits:0{digits}}" if digits else ""
        return f"{year}-{month:02}-{day:02}T{clock}{fraction}Z"

    def ref(self, type_name: str, k: int) -> str:
        """Id of another resource of the same subscription, taken modulo how many there are."""
        return self.tenant.item_at(self.subscription, type_name, k).id

    def group_ref(self, type_name: str) -> str:
        """Id of the resource of a type with one in each resource group, in this one's group."""
        return self.ref(type_name, self.group_index)
