"""From a path to what it names: a list, one resource, or the error ARM would give."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import msgspec

from pipeline.sandbox.arm import arm_errors, inventory
from pipeline.sandbox.arm.catalogue import Item, ResourceType
from pipeline.sandbox.arm.pages import Listing, One, Row, listing_of, parse_query
from pipeline.sandbox.arm.tenant import Tenant
from pipeline.sandbox.arm.wire import Answer

API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-[a-z]+)?", re.IGNORECASE)
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# Deeper paths than any of ARM's.
SEGMENTS_MAX = 40

_encode = msgspec.json.Encoder().encode


class Action(msgspec.Struct, frozen=True):
    """A path that names an action on something, for POST.

    Attributes:
        name: as sent, e.g. ``listKeys``.
        scope: id of what it is done to.
        item: that, if it is a resource of the catalogue.
    """

    name: str
    scope: str
    item: Item | None


Target = Listing | One | Action | Answer


class Router:
    """Finds what a path names.

    Args:
        tenant: what exists.
    """

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    def resolve(self, target: str) -> Target:
        """What a path names.

        Args:
            target: path and query as sent.
        """
        path, _, query = target.partition("?")
        segments = [unquote(part) for part in path.split("/") if part]
        if not segments or len(segments) > SEGMENTS_MAX:
            return arm_errors.not_found(path)
        parameters = parse_query(query)
        version = parameters.get("api-version", "")
        if not version:
            return arm_errors.missing_api_version()
        lower = [segment.lower() for segment in segments]
        if API_VERSION.fullmatch(version) is None:
            if "providers" in lower[:-2]:
                at = len(lower) - 1 - lower[::-1].index("providers")
                return arm_errors.no_registered_provider(version, "/".join(segments[at + 2 :: 2]))
            return arm_errors.invalid_api_version(version)
        if lower[0] == "subscriptions":
            return self._subscriptions(segments, lower, parameters)
        return self._tenant_level(segments, lower, version)

    # -- above and below subscriptions

    def _tenant_level(self, segments: list[str], lower: list[str], version: str) -> Target:
        found = inventory.tenant_level(self._tenant, lower)
        if found is not None:
            return found
        if lower[0] != "providers" or len(lower) < 2:
            return arm_errors.not_found("/" + "/".join(segments))
        if lower[1] not in self._tenant.namespaces:
            return arm_errors.invalid_namespace(segments[1])
        return arm_errors.invalid_type(segments[1], "/".join(segments[2::2]), version)

    def _subscriptions(
        self, segments: list[str], lower: list[str], parameters: dict[str, str]
    ) -> Target:
        tenant = self._tenant
        if len(lower) == 1:
            return inventory.subscriptions(tenant)
        subscription = lower[1]
        if GUID.fullmatch(subscription) is None:
            return arm_errors.invalid_subscription(segments[1])
        if not tenant.has_subscription(subscription):
            return arm_errors.subscription_not_found(segments[1])
        rest, rest_lower = segments[2:], lower[2:]
        if not rest:
            body = tenant.subscription(subscription)
            return One("subscriptions", body["id"], _encode(body))
        if rest_lower[0] == "resourcegroups":
            return self._groups(subscription, rest, rest_lower, parameters)
        found = inventory.subscription_level(tenant, subscription, rest_lower, parameters)
        if found is not None:
            return found
        if rest_lower[0] == "providers" and len(rest) > 2:
            return self._provided(subscription, None, rest, parameters)
        return arm_errors.not_found("/" + "/".join(segments))

    def _groups(
        self, subscription: str, rest: list[str], lower: list[str], parameters: dict[str, str]
    ) -> Target:
        tenant = self._tenant
        if len(rest) == 1:
            return listing_of(
                "resourceGroups",
                range(tenant.groups),
                lambda k: _row(tenant.group(subscription, k)),
            )
        index = tenant.group_index(rest[1])
        if index is None:
            return arm_errors.group_not_found(rest[1])
        group = tenant.group(subscription, index)
        if len(rest) == 2:
            return One("resourceGroups", group["id"], _encode(group))
        if lower[2] == "resources" and len(rest) == 3:
            return inventory.resources(tenant, subscription, index, parameters)
        if lower[2] == "providers" and len(rest) > 4:
            return self._provided(subscription, index, rest[2:], parameters)
        if len(rest) == 3:
            return Action(rest[2], group["id"], None)
        return arm_errors.not_found("/".join(rest))

    # -- resources

    def _provided(
        self, subscription: str, group: int | None, rest: list[str], parameters: dict[str, str]
    ) -> Target:
        """``providers/NS/TYPE[/NAME[/TYPE[/NAME]]]``, and more of the same below a resource."""
        lower = [segment.lower() for segment in rest]
        if "providers" in lower[1:]:
            at = len(lower) - 1 - lower[::-1].index("providers")
            outer = self._provided(subscription, group, rest[:at], parameters)
            if isinstance(outer, Answer):
                return outer
            if not isinstance(outer, One) or outer.item is None or len(rest) - at < 3:
                return arm_errors.not_found("/".join(rest))
            return self._extension(outer.item, rest[at + 1 :], parameters)
        namespace, types, names = rest[1], rest[2::2], rest[3::2]
        type_ = self._type(namespace, types)
        version = parameters["api-version"]
        if isinstance(type_, ResourceType):
            return self._typed(subscription, group, type_, types, names)
        # The last segment may be an action or a view of what stands before it.
        if len(types) > len(names) >= 1:
            before = self._type(namespace, types[:-1])
            if isinstance(before, ResourceType):
                owner = self._typed(subscription, group, before, types[:-1], names)
                return _acting(owner, types[-1])
        if type_ is None:
            return arm_errors.invalid_namespace(namespace)
        return arm_errors.invalid_type(namespace, "/".join(types), version)

    def _type(self, namespace: str, types: list[str]) -> ResourceType | bool | None:
        """The row of a type; ``False`` if the namespace has no such, ``None`` if it is unknown."""
        row = self._tenant.types.get("/".join([namespace, *types]).lower())
        if row is not None:
            return row
        return False if namespace.lower() in self._tenant.namespaces else None

    def _typed(
        self,
        subscription: str,
        group: int | None,
        type_: ResourceType,
        types: list[str],
        names: list[str],
    ) -> Target:
        tenant = self._tenant
        if type_.level == "plain":
            keys = tenant.ordinals(type_, None)
            return listing_of(type_.full, keys, lambda k: self._row(subscription, type_, k))
        parent: Item | None = None
        if type_.parent is not None:
            found = self._parent(subscription, group, type_, names)
            if isinstance(found, Answer):
                return found
            parent = found
        if len(names) < len(types):
            keys = tenant.children(type_, parent) if parent else tenant.ordinals(type_, group)
            return listing_of(type_.full, keys, lambda k: self._row(subscription, type_, k))
        item = self._find(subscription, group, type_, names[-1], parent)
        if item is None:
            return _missing(type_, names, None if group is None else tenant.group_name(group))
        return One(type_.full, item.id, tenant.body(item), item)

    def _parent(
        self, subscription: str, group: int | None, type_: ResourceType, names: list[str]
    ) -> Item | Answer:
        parent_type = self._tenant.types[type_.parent or ""]
        depth = parent_type.full.count("/")
        item = self._find(subscription, group, parent_type, names[depth - 1], None)
        if item is None:
            return arm_errors.parent_not_found(_path(parent_type, names[:depth]))
        return item

    def _find(
        self,
        subscription: str,
        group: int | None,
        type_: ResourceType,
        name: str,
        parent: Item | None,
    ) -> Item | None:
        item = self._tenant.find(subscription, type_, name, parent)
        if item is None:
            return None
        wanted = None if group is None else self._tenant.group_name(group)
        # A resource is found in its own group only; what hangs on a scope, from below it as well.
        inherited = type_.level in {"scope", "subscription"} and item.group is None
        return item if item.group == wanted or inherited else None

    def _row(self, subscription: str, type_: ResourceType, k: int) -> Row:
        item = self._tenant.item(subscription, type_, k)
        return (
            _row(self._tenant.value(item))
            if type_.level == "plain"
            else Row(item.id, self._tenant.body(item))
        )

    def _extension(self, owner: Item, rest: list[str], parameters: dict[str, str]) -> Target:
        """A resource that hangs on another: ``NS/TYPE[/NAME]`` below it."""
        tenant = self._tenant
        namespace, types, names = rest[0], rest[1::2], rest[2::2]
        type_ = self._type(namespace, types)
        if not isinstance(type_, ResourceType) or type_.level in {"group", "child"}:
            view = inventory.view(tenant, owner, "/".join([namespace, *types]).lower())
            if view is not None:
                return One(view[0], owner.id, view[1])
            if type_ is None:
                return arm_errors.invalid_namespace(namespace)
            return arm_errors.invalid_type(namespace, "/".join(types), parameters["api-version"])
        if type_.level == "scope":
            return self._typed(owner.subscription, owner.group_index, type_, types, names)
        rows = inventory.hung_on(tenant, owner, type_)
        if len(names) < len(types):
            return Listing(type_.full, len(rows), lambda i: rows[i])
        wanted = names[-1].lower()
        for row in rows:
            if row.id is not None and row.id.rpartition("/")[2].lower() == wanted:
                return One(type_.full, row.id, row.body)
        return _missing(type_, names, owner.group)


def _row(value: dict[str, Any]) -> Row:
    return Row(value.get("id"), _encode(value))


def _path(type_: ResourceType, names: list[str]) -> str:
    namespace, *types = type_.full.split("/")
    pairs = [f"{part}/{name}" for part, name in zip(types, names, strict=False)]
    return "/".join([namespace, *pairs])


def _missing(type_: ResourceType, names: list[str], group: str | None) -> Answer:
    return arm_errors.resource_not_found(_path(type_, names), group)


def _acting(owner: Target, name: str) -> Target:
    if isinstance(owner, One):
        return Action(name, owner.id, owner.item)
    return owner if isinstance(owner, Answer) else arm_errors.not_found(name)
