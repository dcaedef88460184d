"""POST actions on resources: those that read at once, and those that take a while."""

from __future__ import annotations

from typing import Any

from pipeline.sandbox.arm import arm_errors, inventory
from pipeline.sandbox.arm.catalogue import Item
from pipeline.sandbox.arm.faults import LongOperation
from pipeline.sandbox.arm.operations import Operations
from pipeline.sandbox.arm.router import Action
from pipeline.sandbox.arm.tenant import Tenant
from pipeline.sandbox.arm.wire import JSON_TYPE, Answer, Request, json_answer

# How actions that take a while go, by name in lower case.
_AT_STATUS = LongOperation(style="azure-async", result="location")
_AT_LOCATION = LongOperation(style="location", result="location")
LONG_ACTIONS = {
    "assesspatches": _AT_STATUS,
    "start": _AT_STATUS,
    "poweroff": _AT_STATUS,
    "restart": _AT_STATUS,
    "deallocate": _AT_STATUS,
    "effectiveroutetable": _AT_LOCATION,
    "effectivenetworksecuritygroups": _AT_LOCATION,
    "exporttemplate": _AT_LOCATION,
}
COST_QUERY = "/providers/microsoft.costmanagement/query"
NAME_CHECK = "/checknameavailability"


def view(tenant: Tenant, action: Action) -> Answer:
    """The answer to GET of what may be a view of a resource."""
    found = inventory.view(tenant, action.item, action.name.lower()) if action.item else None
    if found is None:
        return arm_errors.not_found(f"{action.scope}/{action.name}")
    return Answer(200, found[1], (("Content-Type", JSON_TYPE),), found[0])


def act(action: Action, request: Request, operations: Operations, origin: str) -> Answer:
    """The answer to POST of an action."""
    name = action.name.lower()
    type_name = action.item.type.full if action.item else "resourceGroups"
    kind = f"{type_name}/{action.name}"
    plan = LONG_ACTIONS.get(name)
    if plan is not None:
        result = json_answer(200, _outcome(name, action), kind)
        return operations.begin(plan, request, result, origin)
    if action.item is None or not name.startswith("list"):
        return arm_errors.not_found(f"{action.scope}/{action.name}")
    return json_answer(200, _secrets(action.item, name), kind)


def elsewhere(request: Request, tenant: Tenant) -> Answer | None:
    """The answer to POST of an action on no resource; ``None`` if the path names none."""
    path = request.target.partition("?")[0].lower().rstrip("/")
    if path.endswith(COST_QUERY):
        return _cost(path, tenant)
    if path.endswith(NAME_CHECK):
        return json_answer(200, {"nameAvailable": True}, "checkNameAvailability")
    return None


def _outcome(name: str, action: Action) -> dict[str, Any]:
    if name == "effectiveroutetable":
        route = {
            "source": "Default",
            "state": "Active",
            "addressPrefix": ["10.0.0.0/16"],
            "nextHopType": "VnetLocal",
            "nextHopIpAddress": [],
        }
        return {"value": [route]}
    if name == "effectivenetworksecuritygroups":
        return {"value": []}
    if name == "exporttemplate":
        return {"template": {"contentVersion": "1.0.0.0", "parameters": {}, "resources": []}}
    if name == "assesspatches":
        return {"status": "Succeeded", "criticalAndSecurityPatchCount": 2, "otherPatchCount": 7}
    return {"id": action.scope, "status": "Succeeded"}


def _secrets(item: Item, name: str) -> dict[str, Any]:
    """Keys and the like; they say themselves that they open nothing."""
    keys = [f"simulated-{item.guid(f'key{i}')}" for i in (1, 2)]
    if item.type.full == "Microsoft.Storage/storageAccounts":
        rows = [
            {"creationTime": item.time(), "keyName": f"key{i}", "value": key, "permissions": "FULL"}
            for i, key in enumerate(keys, 1)
        ]
        return {"keys": rows}
    if name == "list":
        return {
            "id": item.id,
            "name": item.name,
            "type": item.type.full,
            "location": item.location,
            "properties": {"SETTING": "simulated"},
        }
    if "credential" in name:
        if item.type.full == "Microsoft.ContainerService/managedClusters":
            return {"kubeconfigs": [{"name": "clusterUser", "value": "c2ltdWxhdGVk"}]}
        password = {"name": "password", "value": keys[0]}
        return {"username": item.name, "passwords": [password]}
    return {"primaryKey": keys[0], "secondaryKey": keys[1]}


def _cost(path: str, tenant: Tenant) -> Answer:
    if path.startswith("/subscriptions/") and not tenant.has_subscription(path.split("/")[2]):
        return arm_errors.subscription_not_found(path.split("/")[2])
    name = tenant.guid("cost", path)
    columns = [("PreTaxCost", "Number"), ("ResourceId", "String"), ("Currency", "String")]
    scope = path.removesuffix(COST_QUERY)
    value = {
        "id": f"{scope.lstrip('/')}/providers/Microsoft.CostManagement/query/{name}",
        "name": name,
        "type": "Microsoft.CostManagement/query",
        "properties": {
            "nextLink": None,
            "columns": [{"name": column, "type": type_} for column, type_ in columns],
            "rows": [[round(0.16 * (i + 1), 4), f"{scope}#{i}", "EUR"] for i in range(3)],
        },
    }
    return json_answer(200, value, "Microsoft.CostManagement/query")
