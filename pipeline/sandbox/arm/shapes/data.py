"""Where data lives: storage, vaults, databases, caches."""

from __future__ import annotations

from typing import Any

from pipeline.sandbox.arm.catalogue import Item, ResourceType, fixed


def storage_account(item: Item) -> dict[str, Any]:
    kind = item.pick("sku", "Standard_LRS", "Standard_ZRS", "Standard_GRS", "Premium_LRS")
    enabled = {"keyType": "Account", "enabled": True, "lastEnabledTime": item.time()}
    return {
        "sku": {"name": kind, "tier": kind.partition("_")[0]},
        "kind": "StorageV2",
        "properties": {
            "dnsEndpointType": "Standard",
            "allowCrossTenantReplication": False,
            "privateEndpointConnections": [],
            "minimumTlsVersion": item.pick("tls", "TLS1_2", "TLS1_2", "TLS1_0"),
            "allowBlobPublicAccess": item.pick("public", False, False, True),
            "allowSharedKeyAccess": True,
            "networkAcls": {
                "bypass": "AzureServices",
                "virtualNetworkRules": [],
                "ipRules": [],
                "defaultAction": item.pick("acl", "Allow", "Deny"),
            },
            "supportsHttpsTrafficOnly": True,
            "encryption": {
                "services": {"file": enabled, "blob": enabled},
                "keySource": "Microsoft.Storage",
            },
            "accessTier": item.pick("tier", "Hot", "Cool"),
            "provisioningState": "Succeeded",
            "creationTime": item.time(),
            "primaryEndpoints": {
                service: f"https://{item.name}.{service}.core.windows.net/"
                for service in ("dfs", "web", "blob", "queue", "table", "file")
            },
            "primaryLocation": item.location,
            "statusOfPrimary": "available",
        },
    }


blob_service = fixed(
    sku={"name": "Standard_LRS", "tier": "Standard"},
    properties={
        "cors": {"corsRules": []},
        "deleteRetentionPolicy": {"enabled": True, "days": 7},
        "isVersioningEnabled": False,
    },
)


def vault(item: Item) -> dict[str, Any]:
    return {
        "systemData": {
            "createdBy": "deploy@example.com",
            "createdByType": "User",
            "createdAt": item.time(digits=3),
        },
        "properties": {
            "sku": {"family": "A", "name": item.pick("sku", "standard", "premium")},
            "tenantId": item.tenant.id,
            "accessPolicies": [],
            "enabledForDeployment": False,
            "enabledForDiskEncryption": False,
            "enabledForTemplateDeployment": False,
            "enableSoftDelete": True,
            "softDeleteRetentionInDays": 90,
            "enableRbacAuthorization": True,
            "enablePurgeProtection": True,
            "vaultUri": f"https://{item.name}.vault.azure.net/",
            "provisioningState": "Succeeded",
            "publicNetworkAccess": item.pick("public", "Enabled", "Disabled"),
        },
    }


def sql_server(item: Item) -> dict[str, Any]:
    return {
        "kind": "v12.0",
        "properties": {
            "administratorLogin": "sqladmin",
            "version": "12.0",
            "state": "Ready",
            "fullyQualifiedDomainName": f"{item.name}.database.windows.net",
            "privateEndpointConnections": [],
            "minimalTlsVersion": "1.2",
            "publicNetworkAccess": item.pick("public", "Enabled", "Disabled"),
            "restrictOutboundNetworkAccess": "Disabled",
        },
    }


def sql_database(item: Item) -> dict[str, Any]:
    sku = {"name": "GP_S_Gen5", "tier": "GeneralPurpose", "family": "Gen5", "capacity": 2}
    return {
        "sku": sku,
        "kind": "v12.0,user,vcore,serverless",
        "managedBy": item.parent.id if item.parent else None,
        "properties": {
            "collation": "SQL_Latin1_General_CP1_CI_AS",
            "maxSizeBytes": 34_359_738_368,
            "status": "Online",
            "databaseId": item.guid("database"),
            "creationDate": item.time(digits=3),
            "currentServiceObjectiveName": "GP_S_Gen5_2",
            "requestedServiceObjectiveName": "GP_S_Gen5_2",
            "defaultSecondaryLocation": "northeurope",
            "catalogCollation": "SQL_Latin1_General_CP1_CI_AS",
            "zoneRedundant": False,
            "earliestRestoreDate": item.time("restore"),
            "readScale": "Disabled",
            "currentSku": sku,
            "autoPauseDelay": 60,
            "minCapacity": 0.5,
            "currentBackupStorageRedundancy": "Geo",
        },
    }


# ARM's own notation for all addresses inside Azure.
_INSIDE_AZURE = "0.0.0.0"  # noqa: S104 - nothing is bound to it
firewall_rule = fixed(properties={"startIpAddress": _INSIDE_AZURE, "endIpAddress": _INSIDE_AZURE})


def cosmos_account(item: Item) -> dict[str, Any]:
    endpoint = f"https://{item.name}.documents.azure.com:443/"
    place = {
        "id": f"{item.name}-{item.location}",
        "locationName": item.location,
        "documentEndpoint": endpoint,
        "provisioningState": "Succeeded",
        "failoverPriority": 0,
        "isZoneRedundant": False,
    }
    return {
        "kind": "GlobalDocumentDB",
        "properties": {
            "provisioningState": "Succeeded",
            "documentEndpoint": endpoint,
            "publicNetworkAccess": "Enabled",
            "enableAutomaticFailover": False,
            "databaseAccountOfferType": "Standard",
            "consistencyPolicy": {"defaultConsistencyLevel": "Session"},
            "writeLocations": [place],
            "readLocations": [place],
            "locations": [place],
            "capabilities": [],
            "instanceId": item.guid("instance"),
        },
    }


def redis(item: Item) -> dict[str, Any]:
    return {
        "properties": {
            "provisioningState": "Succeeded",
            "redisVersion": "6.0",
            "sku": {"name": "Standard", "family": "C", "capacity": 1},
            "enableNonSslPort": False,
            "minimumTlsVersion": "1.2",
            "hostName": f"{item.name}.redis.cache.windows.net",
            "port": 6379,
            "sslPort": 6380,
            "linkedServers": [],
        }
    }


def flexible_server(item: Item) -> dict[str, Any]:
    engine = "postgres" if "PostgreSQL" in item.type.full else "mysql"
    return {
        "sku": {"name": "Standard_D2ds_v4", "tier": "GeneralPurpose"},
        "properties": {
            "administratorLogin": "dbadmin",
            "version": "16" if engine == "postgres" else "8.0.21",
            "state": "Ready",
            "fullyQualifiedDomainName": f"{item.name}.{engine}.database.azure.com",
            "storage": {"storageSizeGB": 128, "autoGrow": "Enabled"},
            "backup": {"backupRetentionDays": 7, "geoRedundantBackup": "Disabled"},
            "highAvailability": {"mode": "Disabled"},
        },
    }


def factory(item: Item) -> dict[str, Any]:
    return {
        "identity": {"type": "SystemAssigned", "principalId": item.guid("principal")},
        "properties": {
            "provisioningState": "Succeeded",
            "createTime": item.time(),
            "version": "2018-06-01",
        },
    }


def workspace(item: Item) -> dict[str, Any]:
    return {
        "sku": {"name": "premium"},
        "properties": {
            "provisioningState": "Succeeded",
            "workspaceId": str(item.number("id", 10**14, 10**16)),
            "createdDateTime": item.time(),
        },
    }


def _row(
    full: str, shape: Any, name: str, base: int = 1, per_vm: float = 0.0, **more: Any
) -> ResourceType:
    return ResourceType(full=full, shape=shape, name=name, base=base, per_vm=per_vm, **more)


def _child(
    full: str, shape: Any, each: int, name: str | tuple[str, ...], **more: Any
) -> ResourceType:
    return ResourceType(full=full, shape=shape, each=each, name=name, level="child", **more)


TYPES = (
    _row("Microsoft.Storage/storageAccounts", storage_account, "st{s}{k:05}", 2, 0.1),
    _row("Microsoft.KeyVault/vaults", vault, "kv-{s}-{k:04}", 5, 0.02),
    _row("Microsoft.Sql/servers", sql_server, "sql-{s}-{k:03}", 1, 0.04),
    _row("Microsoft.DocumentDB/databaseAccounts", cosmos_account, "cosmos-{s}-{k:03}", 2),
    _row("Microsoft.Cache/Redis", redis, "redis-{s}-{k:03}", 2),
    _row("Microsoft.DBforPostgreSQL/flexibleServers", flexible_server, "psql-{s}-{k:03}", 2),
    _row("Microsoft.DBforMySQL/flexibleServers", flexible_server, "mysql-{s}-{k:03}", 1),
    _row("Microsoft.DataFactory/factories", factory, "adf-{s}-{k:03}", 1),
    _row("Microsoft.Databricks/workspaces", workspace, "dbw-{s}-{k:03}", 1),
    _row("Microsoft.Synapse/workspaces", workspace, "syn-{s}-{k:03}", 1),
    _child("Microsoft.Sql/servers/databases", sql_database, 3, "db-{j}"),
    _child(
        "Microsoft.Sql/servers/firewallRules",
        firewall_rule,
        1,
        ("AllowAllWindowsAzureIps",),
        tracked=False,
    ),
    _child(
        "Microsoft.Storage/storageAccounts/blobServices",
        blob_service,
        1,
        ("default",),
        tracked=False,
    ),
)
