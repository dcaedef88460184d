# ruff: noqa: E501 - a row of the table is one line
"""The services a message may name: one row each, and adding one is one row.

A row is knowledge, not a gate: a message may name any well-formed service, known or not.

Versions are those of the type that the row's example reads, newest first, as published in Azure's
type index (github.com/Azure/bicep-types-az, August 2026) and REST reference.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import msgspec

# How alike a name must be to be offered for a typo, 0 to 1.
TYPO_CUTOFF = 0.7

_SUBSCRIPTION = "/subscriptions/{subscriptionId}"


class Service(msgspec.Struct, frozen=True):
    """One service of Azure Resource Manager.

    Attributes:
        name: what a message says.
        provider: its resource provider namespace.
        versions: known API versions, newest first.
        example: what the example reads: a type that is listed over a subscription, or a whole path.
        purpose: that in words.
        method: of the example.
        query_params: of the example.
        body: of the example.
    """

    name: str
    provider: str
    versions: tuple[str, ...]
    example: str
    purpose: str
    method: str = "GET"
    query_params: dict[str, str] | None = None
    body: dict[str, Any] | None = None

    @property
    def example_path(self) -> str:
        """Path of the example, with its ``{name}`` places."""
        if self.example.startswith("/"):
            return self.example
        return f"{_SUBSCRIPTION}/providers/{self.provider}/{self.example}"


_COST_BY_SERVICE = {
    "type": "ActualCost",
    "timeframe": "MonthToDate",
    "dataset": {
        "granularity": "None",
        "aggregation": {"totalCost": {"name": "Cost", "function": "Sum"}},
        "grouping": [{"type": "Dimension", "name": "ServiceName"}],
    },
}
_GRAPH_QUERY = {
    "subscriptions": ["{subscriptionId}"],
    "query": "Resources | project id, name, type, location | order by id asc",
    "options": {"$top": 1000},
}

# fmt: off
_ROWS = (
    Service("advisor", "Microsoft.Advisor", ("2025-01-01", "2023-01-01", "2022-10-01", "2020-01-01"), "recommendations", "recommendations of Azure Advisor"),
    Service("apimanagement", "Microsoft.ApiManagement", ("2024-05-01", "2022-08-01", "2021-08-01", "2020-12-01"), "service", "API Management services"),
    Service("authorization", "Microsoft.Authorization", ("2022-04-01", "2020-10-01-preview", "2015-07-01"), "roleAssignments", "role assignments"),
    Service("automation", "Microsoft.Automation", ("2024-10-23", "2023-11-01", "2022-08-08", "2021-06-22"), "automationAccounts", "automation accounts"),
    Service("batch", "Microsoft.Batch", ("2025-06-01", "2024-07-01", "2024-02-01", "2023-11-01"), "batchAccounts", "Batch accounts"),
    Service("cdn", "Microsoft.Cdn", ("2025-12-01", "2025-06-01", "2024-09-01", "2024-02-01", "2023-05-01"), "profiles", "CDN and Front Door profiles"),
    Service("cognitiveservices", "Microsoft.CognitiveServices", ("2025-09-01", "2025-06-01", "2024-10-01", "2023-05-01"), "accounts", "AI services accounts"),
    Service("compute", "Microsoft.Compute", ("2025-04-01", "2024-11-01", "2024-07-01", "2024-03-01", "2023-09-01"), "virtualMachines", "virtual machines"),
    Service("consumption", "Microsoft.Consumption", ("2024-08-01", "2023-11-01", "2023-05-01", "2021-10-01"), "budgets", "budgets"),
    Service("containerapps", "Microsoft.App", ("2025-07-01", "2025-01-01", "2024-03-01", "2023-05-01"), "containerApps", "container apps"),
    Service("containerinstance", "Microsoft.ContainerInstance", ("2025-09-01", "2023-05-01", "2022-09-01", "2021-10-01"), "containerGroups", "container groups"),
    Service("containerregistry", "Microsoft.ContainerRegistry", ("2025-11-01", "2025-04-01", "2023-07-01", "2022-12-01"), "registries", "container registries"),
    Service("containerservice", "Microsoft.ContainerService", ("2025-10-01", "2025-09-01", "2025-08-01", "2024-09-01", "2024-05-01"), "managedClusters", "Kubernetes clusters (AKS)"),
    Service("cosmosdb", "Microsoft.DocumentDB", ("2025-10-15", "2025-04-15", "2024-11-15", "2024-08-15", "2024-05-15"), "databaseAccounts", "Cosmos DB accounts"),
    Service("costmanagement", "Microsoft.CostManagement", ("2025-03-01", "2024-08-01", "2023-11-01", "2023-03-01"), "query", "cost of the month by service", "POST", None, _COST_BY_SERVICE),
    Service("databricks", "Microsoft.Databricks", ("2026-01-01", "2024-05-01", "2023-02-01"), "workspaces", "Databricks workspaces"),
    Service("datafactory", "Microsoft.DataFactory", ("2018-06-01",), "factories", "data factories"),
    Service("dns", "Microsoft.Network", ("2018-05-01", "2017-10-01", "2016-04-01"), "dnsZones", "public DNS zones"),
    Service("eventgrid", "Microsoft.EventGrid", ("2025-02-15", "2022-06-15", "2021-12-01"), "topics", "Event Grid topics"),
    Service("eventhub", "Microsoft.EventHub", ("2024-01-01", "2021-11-01", "2017-04-01"), "namespaces", "Event Hubs namespaces"),
    Service("graph", "Microsoft.Graph", ("v1.0", "beta"), "/users", "users of the tenant, from Microsoft Graph"),
    Service("iothub", "Microsoft.Devices", ("2023-06-30", "2021-07-02", "2020-08-31"), "IotHubs", "IoT hubs"),
    Service("keyvault", "Microsoft.KeyVault", ("2025-05-01", "2024-11-01", "2023-07-01", "2023-02-01", "2022-07-01"), "vaults", "key vaults"),
    Service("kusto", "Microsoft.Kusto", ("2025-02-14", "2024-04-13", "2023-08-15"), "clusters", "Data Explorer clusters"),
    Service("logic", "Microsoft.Logic", ("2019-05-01", "2016-06-01"), "workflows", "logic apps"),
    Service("machinelearning", "Microsoft.MachineLearningServices", ("2025-09-01", "2025-06-01", "2024-10-01", "2024-04-01"), "workspaces", "machine learning workspaces"),
    Service("managedidentity", "Microsoft.ManagedIdentity", ("2024-11-30", "2023-01-31", "2018-11-30"), "userAssignedIdentities", "user-assigned identities"),
    Service("monitor", "Microsoft.Insights", ("2026-01-01", "2018-03-01"), "metricAlerts", "metric alert rules"),
    Service("mysql", "Microsoft.DBforMySQL", ("2024-12-30", "2023-12-30", "2023-06-30"), "flexibleServers", "MySQL servers"),
    Service("network", "Microsoft.Network", ("2025-05-01", "2025-03-01", "2025-01-01", "2024-07-01", "2024-05-01"), "virtualNetworks", "virtual networks"),
    Service("operationalinsights", "Microsoft.OperationalInsights", ("2025-07-01", "2025-02-01", "2023-09-01", "2022-10-01"), "workspaces", "Log Analytics workspaces"),
    Service("policy", "Microsoft.Authorization", ("2025-03-01", "2025-01-01", "2024-05-01", "2023-04-01", "2022-06-01"), "policyAssignments", "policy assignments"),
    Service("postgresql", "Microsoft.DBforPostgreSQL", ("2025-08-01", "2024-08-01", "2022-12-01"), "flexibleServers", "PostgreSQL servers"),
    Service("recoveryservices", "Microsoft.RecoveryServices", ("2025-08-01", "2025-02-01", "2024-10-01", "2024-04-01"), "vaults", "Recovery Services vaults"),
    Service("redis", "Microsoft.Cache", ("2024-11-01", "2024-03-01", "2023-08-01", "2023-04-01"), "redis", "Redis caches"),
    Service("resourcegraph", "Microsoft.ResourceGraph", ("2024-04-01", "2022-10-01", "2021-03-01", "2019-04-01"), "/providers/Microsoft.ResourceGraph/resources", "all resources, by a query", "POST", None, _GRAPH_QUERY),
    Service("resourcehealth", "Microsoft.ResourceHealth", ("2025-05-01", "2024-02-01", "2022-10-01"), "availabilityStatuses", "health of each resource"),
    Service("resources", "Microsoft.Resources", ("2025-04-01", "2024-11-01", "2024-07-01", "2024-03-01", "2021-04-01"), f"{_SUBSCRIPTION}/resourceGroups", "resource groups"),
    Service("search", "Microsoft.Search", ("2025-05-01", "2023-11-01", "2022-09-01"), "searchServices", "AI Search services"),
    Service("security", "Microsoft.Security", ("2025-05-04", "2021-06-01", "2020-01-01"), "assessments", "assessments of Defender for Cloud"),
    Service("servicebus", "Microsoft.ServiceBus", ("2024-01-01", "2021-11-01", "2017-04-01"), "namespaces", "Service Bus namespaces"),
    Service("sql", "Microsoft.Sql", ("2025-01-01", "2023-08-01", "2021-11-01"), "servers", "SQL servers"),
    Service("storage", "Microsoft.Storage", ("2025-06-01", "2025-01-01", "2024-01-01", "2023-05-01", "2023-01-01"), "storageAccounts", "storage accounts"),
    Service("streamanalytics", "Microsoft.StreamAnalytics", ("2020-03-01", "2016-03-01"), "streamingjobs", "streaming jobs"),
    Service("subscriptions", "Microsoft.Resources", ("2022-12-01", "2021-01-01", "2020-01-01", "2016-06-01"), "/subscriptions", "subscriptions this identity sees"),
    Service("web", "Microsoft.Web", ("2025-03-01", "2024-11-01", "2024-04-01", "2023-12-01", "2022-09-01"), "sites", "web and function apps"),
)
# fmt: on

SERVICES: dict[str, Service] = {row.name: row for row in _ROWS}


def lookup(name: str) -> Service | None:
    """The row of a service, or None if the table has none."""
    return SERVICES.get(name)


def closest(name: str) -> str | None:
    """The known name that an unknown one was probably meant to be, or None."""
    if name in SERVICES:
        return None
    alike = get_close_matches(name, SERVICES, n=1, cutoff=TYPO_CUTOFF)
    return alike[0] if alike else None
