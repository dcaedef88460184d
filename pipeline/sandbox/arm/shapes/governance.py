"""Who may do what: roles, policies, locks, deployments, security, cost."""

from __future__ import annotations

from typing import Any

from pipeline.sandbox.arm.catalogue import Item, ResourceType, fixed

# Built-in roles have the same GUID in every tenant.
# Source: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": ("Owner", ["*"]),
    "b24988ac-6180-42a0-ab88-20f7382dd24c": ("Contributor", ["*"]),
    "acdd72a7-3385-48ef-bd42-f606fba81ae7": ("Reader", ["*/read"]),
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": (
        "User Access Administrator",
        ["*/read", "Microsoft.Authorization/*"],
    ),
    "9980e02c-c2be-4d73-94e8-173b1dc7cf3c": (
        "Virtual Machine Contributor",
        ["Microsoft.Compute/virtualMachines/*"],
    ),
    "4d97b98b-1d4f-4787-a291-c67834d212e7": ("Network Contributor", ["Microsoft.Network/*"]),
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": (
        "Storage Blob Data Reader",
        ["Microsoft.Storage/storageAccounts/blobServices/containers/read"],
    ),
    "43d0d8ad-25c7-4714-9337-8ba259a9fe05": ("Monitoring Reader", ["*/read"]),
}


def _scope(item: Item) -> str:
    scope = f"/subscriptions/{item.subscription}"
    return scope if item.group is None else f"{scope}/resourceGroups/{item.group}"


def role_definition(item: Item) -> dict[str, Any]:
    role, actions = ROLES[item.name]
    return {
        "properties": {
            "roleName": role,
            "type": "BuiltInRole",
            "description": f"The built-in role {role}.",
            "assignableScopes": ["/"],
            "permissions": [
                {"actions": actions, "notActions": [], "dataActions": [], "notDataActions": []}
            ],
            "createdOn": "2015-02-02T21:55:09.8806423Z",
            "updatedOn": item.time("updated"),
            "createdBy": None,
            "updatedBy": None,
        }
    }


def role_assignment(item: Item) -> dict[str, Any]:
    role = item.pick("role", *ROLES)
    created = item.time()
    return {
        "properties": {
            "roleDefinitionId": f"/subscriptions/{item.subscription}/providers/"
            f"Microsoft.Authorization/roleDefinitions/{role}",
            "principalId": item.guid("principal"),
            "principalType": item.pick("kind", "User", "Group", "ServicePrincipal"),
            "scope": _scope(item),
            "condition": None,
            "conditionVersion": None,
            "createdOn": created,
            "updatedOn": created,
            "createdBy": item.guid("creator"),
            "updatedBy": item.guid("creator"),
            "delegatedManagedIdentityResourceId": None,
            "description": None,
        }
    }


def policy_assignment(item: Item) -> dict[str, Any]:
    return {
        "identity": {"type": "None"},
        "properties": {
            "displayName": f"Policy {item.name}",
            "policyDefinitionId": "/providers/Microsoft.Authorization/policyDefinitions/"
            "404c3081-a854-4457-ae30-26a93ef643f9",
            "scope": _scope(item),
            "notScopes": [],
            "parameters": {},
            "enforcementMode": "Default",
            "metadata": {"createdBy": item.guid("creator"), "createdOn": item.time()},
        },
    }


def policy_definition(item: Item) -> dict[str, Any]:
    return {
        "properties": {
            "displayName": f"Definition {item.name}",
            "policyType": "Custom",
            "mode": "Indexed",
            "parameters": {},
            "policyRule": {
                "if": {"field": "location", "notIn": ["westeurope", "northeurope"]},
                "then": {"effect": "audit"},
            },
        }
    }


lock = fixed(properties={"level": "CanNotDelete", "notes": "Kept by the platform team."})


def deployment(item: Item) -> dict[str, Any]:
    return {
        "properties": {
            "templateHash": str(item.number("hash", 10**9, 2**32)),
            "mode": "Incremental",
            "provisioningState": "Succeeded",
            "timestamp": item.time(),
            "duration": "PT1M2.345S",
            "correlationId": item.guid("correlation"),
            "providers": [],
            "dependencies": [],
        }
    }


def assessment(item: Item) -> dict[str, Any]:
    return {
        "properties": {
            "resourceDetails": {
                "source": "Azure",
                "id": item.ref("Microsoft.Compute/virtualMachines", item.k),
            },
            "displayName": "Machines should have endpoint protection",
            "status": {"code": item.pick("status", "Healthy", "Unhealthy", "NotApplicable")},
        }
    }


pricing = fixed(properties={"pricingTier": "Standard", "freeTrialRemainingTime": "PT0S"})


def recommendation(item: Item) -> dict[str, Any]:
    return {
        "properties": {
            "category": item.pick("category", "Cost", "Security", "Performance"),
            "impact": item.pick("impact", "High", "Medium", "Low"),
            "impactedField": "Microsoft.Compute/virtualMachines",
            "impactedValue": f"vm-{item.k:05}",
            "lastUpdated": item.time(),
            "recommendationTypeId": item.guid("type"),
            "shortDescription": {"problem": "Right-size it", "solution": "Right-size it"},
        }
    }


def budget(item: Item) -> dict[str, Any]:
    return {
        "eTag": f'"{item.number("etag", 1, 10**6)}"',
        "properties": {
            "category": "Cost",
            "amount": 5000,
            "timeGrain": "Monthly",
            "currentSpend": {"amount": item.number("spend", 0, 5000), "unit": "EUR"},
        },
    }


def usage_detail(item: Item) -> dict[str, Any]:
    return {
        "kind": "legacy",
        "tags": None,
        "properties": {
            "billingPeriodStartDate": "2026-10-01T00:00:00.0000000Z",
            "resourceId": item.ref("Microsoft.Compute/virtualMachines", item.k),
            "quantity": 24,
            "cost": item.number("cost", 0, 10_000) / 100,
            "billingCurrency": "EUR",
        },
    }


def availability_status(item: Item) -> dict[str, Any]:
    vm = item.tenant.item_at(item.subscription, "Microsoft.Compute/virtualMachines", item.k)
    return {
        "id": f"{vm.id}/providers/Microsoft.ResourceHealth/availabilityStatuses/current",
        "name": "current",
        "type": "Microsoft.ResourceHealth/AvailabilityStatuses",
        "location": vm.location,
        "properties": {
            "availabilityState": "Available",
            "title": "Available",
            "summary": "There are no known platform problems.",
            "reasonChronicity": "Persistent",
            "occurredTime": item.time(),
        },
    }


def _row(
    full: str,
    shape: Any,
    name: str | tuple[str, ...],
    base: int,
    level: Any = "subscription",
    per_vm: float = 0.0,
) -> ResourceType:
    return ResourceType(
        full=full, shape=shape, name=name, base=base, per_vm=per_vm, level=level, tracked=False
    )


_A = "Microsoft.Authorization"
TYPES = (
    _row(f"{_A}/roleDefinitions", role_definition, tuple(ROLES), len(ROLES)),
    _row(f"{_A}/roleAssignments", role_assignment, "guid", 10, "scope", 0.2),
    _row(f"{_A}/policyAssignments", policy_assignment, "policy-{k:03}", 6, "scope"),
    _row(f"{_A}/policyDefinitions", policy_definition, "definition-{k:03}", 3),
    _row(f"{_A}/locks", lock, "lock-{k:03}", 4, "scope"),
    _row("Microsoft.Resources/deployments", deployment, "deploy-{k:04}", 6, "scope"),
    _row("Microsoft.Security/assessments", assessment, "guid", 5),
    _row("Microsoft.Security/pricings", pricing, ("VirtualMachines", "SqlServers", "Arm"), 3),
    _row("Microsoft.Advisor/recommendations", recommendation, "guid", 4),
    _row("Microsoft.Consumption/budgets", budget, "budget-{k:02}", 2),
    _row("Microsoft.Consumption/usageDetails", usage_detail, "guid", 10, per_vm=1),
    _row(
        "Microsoft.ResourceHealth/availabilityStatuses",
        availability_status,
        "status-{k}",
        0,
        "plain",
        1,
    ),
)
