"""Where programs run: web apps, Kubernetes, containers."""

from __future__ import annotations

from typing import Any

from pipeline.sandbox.arm.catalogue import Item, ResourceType, fixed


def plan(item: Item) -> dict[str, Any]:
    return {
        "kind": "linux",
        "sku": {
            "name": "P1v3",
            "tier": "PremiumV3",
            "size": "P1v3",
            "family": "Pv3",
            "capacity": 1,
        },
        "properties": {
            "serverFarmId": item.number("farm", 1, 99999),
            "status": "Ready",
            "maximumNumberOfWorkers": 30,
            "geoRegion": item.location,
            "numberOfSites": 1,
            "reserved": True,
            "provisioningState": "Succeeded",
        },
    }


def site(item: Item) -> dict[str, Any]:
    host = f"{item.name}.azurewebsites.net"
    return {
        "kind": item.pick("kind", "app,linux", "app", "functionapp,linux"),
        "properties": {
            "name": item.name,
            "state": item.pick("state", "Running", "Running", "Running", "Stopped"),
            "hostNames": [host],
            "repositorySiteName": item.name,
            "usageState": "Normal",
            "enabled": True,
            "enabledHostNames": [host, f"{item.name}.scm.azurewebsites.net"],
            "availabilityState": "Normal",
            "hostNameSslStates": [{"name": host, "sslState": "Disabled", "hostType": "Standard"}],
            "serverFarmId": item.ref("Microsoft.Web/serverfarms", item.k),
            "reserved": True,
            "lastModifiedTimeUtc": item.time("modified", digits=3),
            "siteConfig": {
                "numberOfWorkers": 1,
                "linuxFxVersion": item.pick(
                    "stack", "PYTHON|3.12", "NODE|20-lts", "DOTNETCORE|8.0"
                ),
                "alwaysOn": True,
                "http20Enabled": True,
            },
            "httpsOnly": item.pick("https", True, True, False),
            "clientCertEnabled": False,
            "defaultHostName": host,
            "outboundIpAddresses": "203.0.113.10,203.0.113.11",
            "provisioningState": "Succeeded",
        },
    }


site_config = fixed(
    properties={
        "numberOfWorkers": 1,
        "ftpsState": "FtpsOnly",
        "minTlsVersion": "1.2",
        "alwaysOn": True,
        "managedPipelineMode": "Integrated",
    }
)


def cluster(item: Item) -> dict[str, Any]:
    return {
        "sku": {"name": "Base", "tier": "Standard"},
        "identity": {
            "type": "SystemAssigned",
            "principalId": item.guid("principal"),
            "tenantId": item.tenant.id,
        },
        "properties": {
            "provisioningState": "Succeeded",
            "powerState": {"code": "Running"},
            "kubernetesVersion": "1.30.6",
            "currentKubernetesVersion": "1.30.6",
            "dnsPrefix": item.name,
            "fqdn": f"{item.name}-{item.subscription[:8]}.hcp.{item.location}.azmk8s.io",
            "agentPoolProfiles": [
                {"name": f"pool{j}", **_agent_pool(j)["properties"]} for j in range(2)
            ],
            "servicePrincipalProfile": {"clientId": "msi"},
            "nodeResourceGroup": f"MC_{item.group}_{item.name}_{item.location}",
            "enableRBAC": True,
            "networkProfile": {
                "networkPlugin": "azure",
                "loadBalancerSku": "standard",
                "serviceCidr": "10.0.0.0/16",
                "dnsServiceIP": "10.0.0.10",
                "outboundType": "loadBalancer",
            },
            "maxAgentPools": 100,
            "disableLocalAccounts": True,
        },
    }


def _agent_pool(j: int) -> dict[str, Any]:
    return {
        "properties": {
            "count": 3,
            "vmSize": "Standard_D4s_v5",
            "osDiskSizeGB": 128,
            "maxPods": 110,
            "type": "VirtualMachineScaleSets",
            "provisioningState": "Succeeded",
            "powerState": {"code": "Running"},
            "orchestratorVersion": "1.30.6",
            "mode": "System" if j == 0 else "User",
            "osType": "Linux",
            "osSKU": "AzureLinux",
        }
    }


def agent_pool(item: Item) -> dict[str, Any]:
    return _agent_pool(item.k % 2)


def registry(item: Item) -> dict[str, Any]:
    return {
        "sku": {"name": "Premium", "tier": "Premium"},
        "properties": {
            "loginServer": f"{item.name}.azurecr.io",
            "creationDate": item.time(),
            "provisioningState": "Succeeded",
            "adminUserEnabled": item.pick("admin", False, False, True),
            "publicNetworkAccess": "Enabled",
            "zoneRedundancy": "Disabled",
        },
    }


container_group = fixed(
    properties={
        "provisioningState": "Succeeded",
        "containers": [
            {
                "name": "main",
                "properties": {
                    "image": "mcr.microsoft.com/azuredocs/aci-helloworld:latest",
                    "resources": {"requests": {"memoryInGB": 1.5, "cpu": 1.0}},
                },
            }
        ],
        "restartPolicy": "Always",
        "osType": "Linux",
    }
)


def container_app(item: Item) -> dict[str, Any]:
    return {
        "properties": {
            "provisioningState": "Succeeded",
            "runningStatus": "Running",
            "managedEnvironmentId": item.ref("Microsoft.App/managedEnvironments", item.k),
            "latestRevisionName": f"{item.name}--r1",
            "configuration": {"activeRevisionsMode": "Single"},
        }
    }


def plain(item: Item) -> dict[str, Any]:
    return {"properties": {"provisioningState": "Succeeded", "createdAt": item.time()}}


def standard(item: Item) -> dict[str, Any]:
    return {"sku": {"name": "Standard"}, **plain(item)}


def _row(full: str, shape: Any, name: str, base: int = 1, per_vm: float = 0.0) -> ResourceType:
    return ResourceType(full=full, shape=shape, name=name, base=base, per_vm=per_vm)


TYPES = (
    _row("Microsoft.Web/serverfarms", plan, "plan-{k:03}", 1, 0.05),
    _row("Microsoft.Web/sites", site, "app-{s}-{k:04}", 2, 0.1),
    _row("Microsoft.Web/staticSites", standard, "swa-{k:03}", 1),
    _row("Microsoft.ContainerService/managedClusters", cluster, "aks-{k:03}", 1, 0.02),
    _row("Microsoft.ContainerRegistry/registries", registry, "acr{s}{k:03}", 2),
    _row("Microsoft.ContainerInstance/containerGroups", container_group, "aci-{k:03}", 2),
    _row("Microsoft.App/managedEnvironments", plain, "cae-{k:03}", 1),
    _row("Microsoft.App/containerApps", container_app, "ca-{k:03}", 2),
    _row("Microsoft.Batch/batchAccounts", standard, "batch{s}{k:03}", 1),
    _row("Microsoft.ServiceFabric/clusters", standard, "sf-{k:03}", 1),
    _row("Microsoft.DesktopVirtualization/hostPools", standard, "hp-{k:03}", 1),
    _row("Microsoft.MachineLearningServices/workspaces", standard, "mlw-{k:03}", 1),
    _row("Microsoft.CognitiveServices/accounts", standard, "ai-{s}-{k:03}", 1),
    _row("Microsoft.Search/searchServices", standard, "srch-{s}-{k:03}", 1),
    _row("Microsoft.SignalRService/SignalR", standard, "sigr-{s}-{k:03}", 1),
    ResourceType(
        full="Microsoft.ContainerService/managedClusters/agentPools",
        shape=agent_pool,
        each=2,
        name="pool{j}",
        level="child",
        tracked=False,
    ),
    ResourceType(
        full="Microsoft.Web/sites/config",
        shape=site_config,
        each=4,
        level="child",
        tracked=False,
        name=("web", "appsettings", "authsettings", "connectionstrings"),
    ),
)
