"""microsoft.insights and what it writes to."""

from __future__ import annotations

from typing import Any

from pipeline.sandbox.arm.catalogue import Item, ResourceType


def activity_log_alert(item: Item) -> dict[str, Any]:
    return {
        "location": "Global",
        "properties": {
            "scopes": [f"/subscriptions/{item.subscription}"],
            "condition": {
                "allOf": [
                    {"field": "category", "equals": "Administrative"},
                    {"field": "resourceType", "equals": "microsoft.network/networksecuritygroups"},
                ]
            },
            "actions": {"actionGroups": [_action_group(item)]},
            "enabled": True,
            "description": "Somebody changed a security group.",
        },
    }


def _action_group(item: Item) -> dict[str, str]:
    return {"actionGroupId": item.ref("microsoft.insights/actionGroups", item.k)}


def metric_alert(item: Item) -> dict[str, Any]:
    return {
        "location": "global",
        "properties": {
            "description": "Processor time is high.",
            "severity": 3,
            "enabled": True,
            "scopes": [item.ref("Microsoft.Compute/virtualMachines", item.k)],
            "evaluationFrequency": "PT5M",
            "windowSize": "PT15M",
            "criteria": {
                "odata.type": "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria",
                "allOf": [
                    {
                        "name": "cpu",
                        "metricName": "Percentage CPU",
                        "operator": "GreaterThan",
                        "threshold": 80,
                        "timeAggregation": "Average",
                        "criterionType": "StaticThresholdCriterion",
                    }
                ],
            },
            "autoMitigate": True,
            "actions": [_action_group(item)],
        },
    }


def action_group(item: Item) -> dict[str, Any]:
    return {
        "location": "Global",
        "properties": {
            "groupShortName": f"ag{item.k}",
            "enabled": True,
            "emailReceivers": [
                {"name": "on-call", "emailAddress": "on-call@example.com", "status": "Enabled"}
            ],
            "smsReceivers": [],
            "webhookReceivers": [],
        },
    }


def component(item: Item) -> dict[str, Any]:
    return {
        "kind": "web",
        "properties": {
            "Application_Type": "web",
            "ApplicationId": item.name,
            "AppId": item.guid("app"),
            "CreationDate": item.time(),
            "TenantId": item.subscription,
            "provisioningState": "Succeeded",
            "RetentionInDays": 90,
            "WorkspaceResourceId": item.ref("Microsoft.OperationalInsights/workspaces", item.k),
            "IngestionMode": "LogAnalytics",
        },
    }


def log_workspace(item: Item) -> dict[str, Any]:
    return {
        "properties": {
            "customerId": item.guid("customer"),
            "provisioningState": "Succeeded",
            "sku": {"name": "PerGB2018", "lastSkuUpdate": item.time()},
            "retentionInDays": 30,
            "features": {"enableLogAccessUsingOnlyResourcePermissions": True},
            "workspaceCapping": {"dailyQuotaGb": -1.0, "dataIngestionStatus": "RespectQuota"},
            "createdDate": item.time(),
            "modifiedDate": item.time("modified"),
        }
    }


def collection_rule(item: Item) -> dict[str, Any]:
    return {
        "kind": "Linux",
        "properties": {
            "immutableId": f"dcr-{item.guid('dcr').replace('-', '')}",
            "dataSources": {},
            "destinations": {},
            "provisioningState": "Succeeded",
        },
    }


def autoscale(item: Item) -> dict[str, Any]:
    return {
        "properties": {
            "enabled": True,
            "targetResourceUri": item.ref("Microsoft.Compute/virtualMachineScaleSets", item.k),
            "profiles": [],
            "notifications": [],
        }
    }


def diagnostic_setting(item: Item) -> dict[str, Any]:
    return {
        "properties": {
            "workspaceId": item.ref("Microsoft.OperationalInsights/workspaces", item.k),
            "logs": [{"category": "Administrative", "enabled": True}],
        }
    }


def activity_event(item: Item) -> dict[str, Any]:
    at = item.time()
    vm = item.ref("Microsoft.Compute/virtualMachines", item.k)
    return {
        "id": f"{vm}/events/{item.guid('event')}/ticks/{item.number('ticks', 10**8, 10**9)}",
        "authorization": {"action": "Microsoft.Compute/virtualMachines/write", "scope": vm},
        "caller": "deploy@example.com",
        "channels": "Operation",
        "correlationId": item.guid("correlation"),
        "eventDataId": item.guid("event"),
        "eventName": {"value": "EndRequest", "localizedValue": "End request"},
        "category": {"value": "Administrative", "localizedValue": "Administrative"},
        "level": "Informational",
        "resourceId": vm,
        "resourceGroupName": vm.split("/")[4] if vm.count("/") > 4 else "",
        "operationName": {"value": "Microsoft.Compute/virtualMachines/write"},
        "status": {"value": "Succeeded", "localizedValue": "Succeeded"},
        "eventTimestamp": at,
        "submissionTimestamp": at,
        "subscriptionId": item.subscription,
        "tenantId": item.tenant.id,
    }


_I = "microsoft.insights"


def _row(full: str, shape: Any, name: str, base: int, per_vm: float = 0.0) -> ResourceType:
    return ResourceType(full=full, shape=shape, name=name, base=base, per_vm=per_vm)


TYPES = (
    _row(f"{_I}/activityLogAlerts", activity_log_alert, "ala-{k:03}", 3),
    _row(f"{_I}/metricAlerts", metric_alert, "cpu-{k:04}", 1, 0.1),
    _row(f"{_I}/actionGroups", action_group, "ag-{k:03}", 2),
    _row(f"{_I}/components", component, "appi-{k:03}", 2),
    _row(f"{_I}/autoscaleSettings", autoscale, "as-{k:03}", 1),
    _row(f"{_I}/dataCollectionRules", collection_rule, "dcr-{k:03}", 1),
    _row("Microsoft.OperationalInsights/workspaces", log_workspace, "log-{k:03}", 2),
    ResourceType(
        full=f"{_I}/diagnosticSettings",
        shape=diagnostic_setting,
        base=1,
        level="subscription",
        tracked=False,
        name="diag-{k:02}",
    ),
    ResourceType(
        full=f"{_I}/eventtypes/values",
        shape=activity_event,
        base=5,
        per_vm=1,
        level="plain",
        tracked=False,
        name="event-{k}",
    ),
)
