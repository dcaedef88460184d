"""What connects programs: messaging, events, APIs, automation, edges."""

from __future__ import annotations

from typing import Any

from pipeline.sandbox.arm.catalogue import Item, ResourceType
from pipeline.sandbox.arm.shapes.apps import plain, standard


def namespace(item: Item) -> dict[str, Any]:
    return {
        "sku": {"name": "Standard", "tier": "Standard"},
        "properties": {
            "disableLocalAuth": False,
            "zoneRedundant": False,
            "minimumTlsVersion": "1.2",
            "publicNetworkAccess": "Enabled",
            "provisioningState": "Succeeded",
            "metricId": f"{item.subscription}:{item.name}",
            "createdAt": item.time(digits=3),
            "updatedAt": item.time("updated", digits=3),
            "serviceBusEndpoint": f"https://{item.name}.servicebus.windows.net:443/",
            "status": "Active",
        },
    }


def entity(item: Item) -> dict[str, Any]:
    return {
        "properties": {
            "createdAt": item.time(digits=3),
            "updatedAt": item.time("updated", digits=3),
            "status": "Active",
            "messageRetentionInDays": 7,
            "partitionCount": 4,
        }
    }


def queue(item: Item) -> dict[str, Any]:
    return {
        "properties": {
            "lockDuration": "PT1M",
            "maxSizeInMegabytes": 1024,
            "requiresDuplicateDetection": False,
            "maxDeliveryCount": 10,
            "status": "Active",
            "messageCount": item.number("messages", 0, 500),
            "createdAt": item.time(digits=3),
        }
    }


def workflow(item: Item) -> dict[str, Any]:
    return {
        "properties": {
            "provisioningState": "Succeeded",
            "createdTime": item.time(),
            "changedTime": item.time("changed"),
            "state": "Enabled",
            "version": f"{item.number('version', 10**17, 10**18)}",
            "definition": {"contentVersion": "1.0.0.0", "triggers": {}, "actions": {}},
        }
    }


def identity(item: Item) -> dict[str, Any]:
    return {
        "properties": {
            "tenantId": item.tenant.id,
            "principalId": item.guid("principal"),
            "clientId": item.guid("client"),
        }
    }


def profile(item: Item) -> dict[str, Any]:
    return {
        "location": "Global",
        "kind": "frontdoor",
        "sku": {"name": "Standard_AzureFrontDoor"},
        "properties": {
            "provisioningState": "Succeeded",
            "resourceState": "Active",
            "frontDoorId": item.guid("frontdoor"),
        },
    }


def _row(full: str, shape: Any, name: str, base: int = 1) -> ResourceType:
    return ResourceType(full=full, shape=shape, name=name, base=base)


def _child(full: str, shape: Any, each: int, name: str) -> ResourceType:
    return ResourceType(full=full, shape=shape, each=each, name=name, level="child", tracked=False)


TYPES = (
    _row("Microsoft.ServiceBus/namespaces", namespace, "sb-{s}-{k:03}", 2),
    _row("Microsoft.EventHub/namespaces", namespace, "evhns-{s}-{k:03}", 2),
    _row("Microsoft.EventGrid/topics", standard, "evgt-{s}-{k:03}"),
    _row("Microsoft.EventGrid/domains", standard, "evgd-{s}-{k:03}"),
    _row("Microsoft.NotificationHubs/namespaces", standard, "ntfns-{s}-{k:03}"),
    _row("Microsoft.ApiManagement/service", standard, "apim-{s}-{k:03}"),
    _row("Microsoft.Logic/workflows", workflow, "logic-{k:03}", 2),
    _row("Microsoft.Automation/automationAccounts", standard, "aa-{k:03}"),
    _row("Microsoft.AppConfiguration/configurationStores", standard, "appcs-{s}-{k:03}"),
    _row("Microsoft.ManagedIdentity/userAssignedIdentities", identity, "id-{k:03}", 3),
    _row("Microsoft.Cdn/profiles", profile, "afd-{k:03}"),
    _row("Microsoft.Network/frontDoors", plain, "fd-{s}-{k:03}"),
    _row("Microsoft.RecoveryServices/vaults", standard, "rsv-{k:03}"),
    _row("Microsoft.DataProtection/backupVaults", plain, "bvault-{k:03}"),
    _row("Microsoft.Devices/IotHubs", standard, "iot-{s}-{k:03}"),
    _row("Microsoft.StreamAnalytics/streamingjobs", plain, "asa-{k:03}"),
    _row("Microsoft.Kusto/clusters", standard, "adx{s}{k:03}"),
    _row("Microsoft.Purview/accounts", standard, "pview-{s}-{k:03}"),
    _row("Microsoft.Maintenance/maintenanceConfigurations", plain, "mc-{k:03}"),
    _child("Microsoft.ServiceBus/namespaces/queues", queue, 3, "queue-{j}"),
    _child("Microsoft.ServiceBus/namespaces/topics", queue, 2, "topic-{j}"),
    _child("Microsoft.EventHub/namespaces/eventhubs", entity, 2, "hub-{j}"),
)
