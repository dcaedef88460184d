"""What ARM tells besides resources of a type: subscriptions, providers, all resources, views."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import Any

import msgspec

from pipeline.sandbox.arm.arm_errors import SUPPORTED_VERSIONS, arm_error
from pipeline.sandbox.arm.catalogue import Item, ResourceType
from pipeline.sandbox.arm.pages import Listing, One, Row, listing_of
from pipeline.sandbox.arm.shapes.governance import ROLES
from pipeline.sandbox.arm.tenant import LOCATIONS, Tenant
from pipeline.sandbox.arm.wire import Answer

_encode = msgspec.json.Encoder().encode

# The filters that the list of all resources takes, joined by "and".
_FILTER = re.compile(r"(resourcetype|resourcegroup|location|name)\s+eq\s+'([^']*)'", re.IGNORECASE)


def _rows(kind: str, values: list[dict[str, Any]]) -> Listing:
    return Listing(kind, len(values), lambda i: Row(values[i].get("id"), _encode(values[i])))


def subscriptions(tenant: Tenant) -> Listing:
    """All subscriptions."""
    ids = tenant.subscription_ids

    def row(k: int) -> Row:
        value = tenant.subscription(ids[k])
        return Row(value["id"], _encode(value))

    return listing_of("subscriptions", range(len(ids)), row)


def tenant_level(tenant: Tenant, lower: list[str]) -> Listing | One | None:
    """What stands above subscriptions; ``None`` if the path names nothing of it."""
    if lower == ["tenants"]:
        body = {
            "id": f"/tenants/{tenant.id}",
            "tenantId": tenant.id,
            "displayName": "Contoso",
            "tenantCategory": "Home",
            "defaultDomain": "contoso.onmicrosoft.com",
        }
        return _rows("tenants", [body])
    if lower == ["providers"]:
        return _rows("providers", [_provider(tenant, ns, "") for ns in tenant.namespaces])
    if lower[0] != "providers":
        return None
    if lower[1:] == ["microsoft.management", "managementgroups"]:
        return _rows("managementGroups", [_management_group(tenant)])
    if lower[1:] == ["microsoft.management", "managementgroups", tenant.id]:
        group = _management_group(tenant)
        return One("managementGroups", group["id"], _encode(group))
    if lower[1:3] == ["microsoft.authorization", "roledefinitions"]:
        return _roles(tenant, lower[3:])
    if len(lower) == 2 and lower[1] in tenant.namespaces:
        provider = _provider(tenant, lower[1], "")
        return One("providers", provider["id"], _encode(provider))
    return None


def _roles(tenant: Tenant, names: list[str]) -> Listing | One | None:
    """Built-in roles, whose ids at the tenant name no subscription."""
    type_ = tenant.types["microsoft.authorization/roledefinitions"]
    values = []
    for k in range(len(ROLES)):
        item = tenant.item(tenant.subscription_ids[0], type_, k)
        values.append({**tenant.value(item), "id": f"/providers/{type_.full}/{item.name}"})
    if not names:
        return _rows(type_.full, values)
    found = [value for value in values if [value["name"]] == names]
    return One(type_.full, found[0]["id"], _encode(found[0])) if found else None


def _management_group(tenant: Tenant) -> dict[str, Any]:
    return {
        "id": f"/providers/Microsoft.Management/managementGroups/{tenant.id}",
        "type": "Microsoft.Management/managementGroups",
        "name": tenant.id,
        "properties": {"tenantId": tenant.id, "displayName": "Tenant Root Group"},
    }


def subscription_level(
    tenant: Tenant, subscription: str, lower: list[str], parameters: dict[str, str]
) -> Listing | One | Answer | None:
    """What a subscription tells about itself; ``None`` if the path names nothing of it."""
    scope = f"/subscriptions/{subscription}"
    if lower == ["resources"]:
        return resources(tenant, subscription, None, parameters)
    if lower == ["locations"]:
        places = [
            {
                "id": f"{scope}/locations/{name}",
                "name": name,
                "type": "Region",
                "displayName": name.title(),
                "regionalDisplayName": name.title(),
                "metadata": {"regionType": "Physical", "regionCategory": "Recommended"},
            }
            for name in LOCATIONS
        ]
        return _rows("locations", places)
    if lower == ["providers"]:
        return _rows("providers", [_provider(tenant, ns, scope) for ns in tenant.namespaces])
    if len(lower) == 2 and lower[0] == "providers" and lower[1] in tenant.namespaces:
        provider = _provider(tenant, lower[1], scope)
        return One("providers", provider["id"], _encode(provider))
    if lower == ["providers", "microsoft.authorization", "permissions"]:
        return _rows("permissions", [{"actions": ["*/read"], "notActions": []}])
    if lower == ["tagnames"]:
        return _rows(
            "tagNames",
            [{"id": f"{scope}/tagNames/{n}", "tagName": n} for n in ("env", "team", "costCentre")],
        )
    return None


def _provider(tenant: Tenant, namespace: str, scope: str) -> dict[str, Any]:
    name = tenant.namespaces[namespace]
    return {
        "id": f"{scope}/providers/{name}",
        "namespace": name,
        "resourceTypes": [
            {
                "resourceType": row.full.partition("/")[2],
                "locations": list(LOCATIONS),
                "apiVersions": SUPPORTED_VERSIONS.split(", "),
            }
            for row in tenant.types.values()
            if row.namespace.lower() == namespace
        ],
        "registrationState": "Registered",
        "registrationPolicy": "RegistrationRequired",
    }


def resources(
    tenant: Tenant, subscription: str, group: int | None, parameters: dict[str, str]
) -> Listing | Answer:
    """All resources of a subscription or of a resource group."""
    types = tenant.tracked
    text = parameters.get("$filter", "")
    wanted = {name.lower(): value.lower() for name, value in _FILTER.findall(text)}
    left = _FILTER.sub("", text).lower().replace("and", "").strip(" ()")
    if left:
        return arm_error(
            400, "InvalidFilterInQueryString", f"Invalid $filter '{text}' specified in the query."
        )
    if (type_name := wanted.pop("resourcetype", None)) is not None:
        types = [row for row in types if row.full.lower() == type_name]
    runs = [(row, tenant.ordinals(row, group)) for row in types]
    if wanted:
        return _filtered(tenant, subscription, runs, wanted)
    ends = list(accumulate(len(keys) for _, keys in runs))

    def row(i: int) -> Row:
        run = bisect_right(ends, i)
        type_, keys = runs[run]
        item = tenant.item(subscription, type_, keys[i - (ends[run - 1] if run else 0)])
        return Row(item.id, _encode(tenant.row(item)))

    return Listing("resources", ends[-1] if ends else 0, row)


def _filtered(
    tenant: Tenant, subscription: str, runs: list[tuple[ResourceType, Any]], wanted: dict[str, str]
) -> Listing:
    names = {"resourcegroup": "group", "location": "location", "name": "name"}
    items = [
        item
        for type_, keys in runs
        for item in (tenant.item(subscription, type_, k) for k in keys)
        if all((getattr(item, names[key]) or "").lower() == wanted[key] for key in wanted)
    ]
    return Listing(
        "resources", len(items), lambda i: Row(items[i].id, _encode(tenant.row(items[i])))
    )


def hung_on(tenant: Tenant, owner: Item, type_: ResourceType) -> list[Row]:
    """The rows of an extension type on one resource: one each."""
    template = tenant.item(owner.subscription, type_, 0)
    item = Item(
        tenant,
        owner.subscription,
        type_,
        0,
        group=owner.group,
        group_index=owner.group_index,
        name=template.name,
        location=owner.location,
        id_=f"{owner.id}/providers/{type_.full}/{template.name}",
    )
    value = tenant.value(item)
    return [Row(value.get("id"), _encode(value))]


def view(tenant: Tenant, owner: Item, name: str) -> tuple[str, bytes] | None:
    """A view of a resource that is no resource: its kind and JSON; ``None`` if there is none."""
    if name == "instanceview" and owner.type.full == "Microsoft.Compute/virtualMachines":
        return f"{owner.type.full}/instanceView", _encode(_instance_view(owner))
    if name in {"microsoft.insights/metrics", "microsoft.insights/metricdefinitions"}:
        return name, _encode(_metrics(owner))
    del tenant
    return None


def _instance_view(vm: Item) -> dict[str, Any]:
    return {
        "computerName": vm.name,
        "osName": "ubuntu",
        "osVersion": "22.04",
        "vmAgent": {"vmAgentVersion": "2.11.1.12", "statuses": []},
        "disks": [],
        "hyperVGeneration": "V2",
        "statuses": [
            {
                "code": "ProvisioningState/succeeded",
                "level": "Info",
                "displayStatus": "Provisioning succeeded",
                "time": vm.time("provisioned"),
            },
            {"code": "PowerState/running", "level": "Info", "displayStatus": "VM running"},
        ],
    }


def _metrics(owner: Item) -> dict[str, Any]:
    metric = {
        "id": f"{owner.id}/providers/Microsoft.Insights/metrics/Percentage CPU",
        "type": "Microsoft.Insights/metrics",
        "name": {"value": "Percentage CPU", "localizedValue": "Percentage CPU"},
        "unit": "Percent",
        "timeseries": [
            {
                "metadatavalues": [],
                "data": [
                    {"timeStamp": f"2026-11-01T{hour:02}:00:00Z", "average": 5.0 + hour}
                    for hour in range(4)
                ],
            }
        ],
        "errorCode": "Success",
    }
    return {"cost": 239, "interval": "PT1H", "namespace": owner.type.full, "value": [metric]}
