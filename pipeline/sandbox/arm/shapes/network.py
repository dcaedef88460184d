"""Microsoft.Network: networks, interfaces, addresses and gateways."""

from __future__ import annotations

from typing import Any

from pipeline.sandbox.arm.catalogue import Item, ResourceType

_N = "Microsoft.Network"


def _etag(item: Item) -> str:
    return f'W/"{item.guid("etag")}"'


def _base(item: Item, **properties: Any) -> dict[str, Any]:
    return {
        "etag": _etag(item),
        "properties": {
            "provisioningState": "Succeeded",
            "resourceGuid": item.guid("resource"),
            **properties,
        },
    }


def _subnet_ref(item: Item) -> dict[str, str]:
    return {"id": f"{item.group_ref(f'{_N}/virtualNetworks')}/subnets/snet-0"}


def network_interface(item: Item) -> dict[str, Any]:
    configuration = f"{item.id}/ipConfigurations/ipconfig1"
    return _base(
        item,
        ipConfigurations=[
            {
                "name": "ipconfig1",
                "id": configuration,
                "etag": _etag(item),
                "type": f"{_N}/networkInterfaces/ipConfigurations",
                "properties": {
                    "provisioningState": "Succeeded",
                    "privateIPAddress": f"10.{item.group_index % 250}.{item.k // 250 % 250}"
                    f".{4 + item.k % 250}",
                    "privateIPAllocationMethod": "Dynamic",
                    "subnet": _subnet_ref(item),
                    "primary": True,
                    "privateIPAddressVersion": "IPv4",
                },
            }
        ],
        dnsSettings={"dnsServers": [], "appliedDnsServers": []},
        macAddress="-".join(["00", "0D", "3A", *_hex_pairs(item)]),
        enableAcceleratedNetworking=True,
        enableIPForwarding=False,
        networkSecurityGroup={"id": item.group_ref(f"{_N}/networkSecurityGroups")},
        primary=True,
        virtualMachine={"id": item.ref("Microsoft.Compute/virtualMachines", item.k)},
        hostedWorkloads=[],
        tapConfigurations=[],
        nicType="Standard",
    )


def _hex_pairs(item: Item) -> list[str]:
    number = item.number("mac", 0, 0xFFFFFF)
    return [f"{number >> shift & 0xFF:02X}" for shift in (16, 8, 0)]


def virtual_network(item: Item) -> dict[str, Any]:
    return _base(
        item,
        addressSpace={"addressPrefixes": [f"10.{item.k % 250}.0.0/16"]},
        subnets=[
            {"name": f"snet-{j}", "id": f"{item.id}/subnets/snet-{j}", **_subnet(item, item.k, j)}
            for j in range(2)
        ],
        virtualNetworkPeerings=[],
        enableDdosProtection=False,
    )


def _subnet(item: Item, network: int, j: int) -> dict[str, Any]:
    return {
        "etag": _etag(item),
        "properties": {
            "provisioningState": "Succeeded",
            "addressPrefix": f"10.{network % 250}.{j}.0/24",
            "delegations": [],
            "privateEndpointNetworkPolicies": "Disabled",
            "privateLinkServiceNetworkPolicies": "Enabled",
        },
        "type": f"{_N}/virtualNetworks/subnets",
    }


def subnet(item: Item) -> dict[str, Any]:
    return _subnet(item, item.k // 2, item.k % 2)


def _rule(item: Item, name: str, priority: int, port: str, access: str) -> dict[str, Any]:
    return {
        "name": name,
        "id": f"{item.id}/securityRules/{name}",
        "etag": _etag(item),
        "type": f"{_N}/networkSecurityGroups/securityRules",
        "properties": {
            "provisioningState": "Succeeded",
            "protocol": "TCP",
            "sourcePortRange": "*",
            "destinationPortRange": port,
            "sourceAddressPrefix": item.pick(name, "*", "10.0.0.0/8", "VirtualNetwork"),
            "destinationAddressPrefix": "*",
            "access": access,
            "priority": priority,
            "direction": "Inbound",
            "sourcePortRanges": [],
            "destinationPortRanges": [],
            "sourceAddressPrefixes": [],
            "destinationAddressPrefixes": [],
        },
    }


def security_group(item: Item) -> dict[str, Any]:
    rules = [("allow-https", 100, "443", "Allow"), ("deny-rdp", 200, "3389", "Deny")]
    return _base(
        item,
        securityRules=[_rule(item, *rule) for rule in rules],
        defaultSecurityRules=[],
        subnets=[_subnet_ref(item)],
    )


def public_address(item: Item) -> dict[str, Any]:
    return {
        **_base(
            item,
            # 203.0.113.0/24 is reserved for documentation (RFC 5737).
            ipAddress=f"203.0.113.{item.k % 254 + 1}",
            publicIPAddressVersion="IPv4",
            publicIPAllocationMethod="Static",
            idleTimeoutInMinutes=4,
            ipTags=[],
            ddosSettings={"protectionMode": "VirtualNetworkInherited"},
        ),
        "sku": {"name": "Standard", "tier": "Regional"},
        "zones": ["1", "2", "3"],
    }


def load_balancer(item: Item) -> dict[str, Any]:
    return {
        **_base(
            item,
            frontendIPConfigurations=[
                {
                    "name": "frontend",
                    "id": f"{item.id}/frontendIPConfigurations/frontend",
                    "properties": {
                        "provisioningState": "Succeeded",
                        "privateIPAllocationMethod": "Dynamic",
                        "subnet": _subnet_ref(item),
                    },
                }
            ],
            backendAddressPools=[],
            loadBalancingRules=[],
            probes=[],
            inboundNatRules=[],
        ),
        "sku": {"name": "Standard", "tier": "Regional"},
    }


def application_gateway(item: Item) -> dict[str, Any]:
    return _base(
        item,
        sku={"name": "WAF_v2", "tier": "WAF_v2", "family": "Generation_1"},
        operationalState="Running",
        gatewayIPConfigurations=[
            {
                "name": "gateway",
                "id": f"{item.id}/gatewayIPConfigurations/gateway",
                "properties": {"provisioningState": "Succeeded", "subnet": _subnet_ref(item)},
            }
        ],
        sslCertificates=[],
        frontendPorts=[{"name": "https", "properties": {"port": 443}}],
        backendAddressPools=[],
        httpListeners=[],
        autoscaleConfiguration={"minCapacity": 1, "maxCapacity": 10},
        enableHttp2=True,
    )


def route_table(item: Item) -> dict[str, Any]:
    return _base(item, routes=[], subnets=[], disableBgpRoutePropagation=False)


def gateway(item: Item) -> dict[str, Any]:
    return _base(item, sku={"name": "Standard"}, idleTimeoutInMinutes=4)


def firewall(item: Item) -> dict[str, Any]:
    return _base(item, sku={"name": "AZFW_VNet", "tier": "Standard"}, threatIntelMode="Alert")


def zone(item: Item) -> dict[str, Any]:
    return {
        "location": "global",
        "etag": item.guid("etag"),
        "properties": {
            "maxNumberOfRecordSets": 10000,
            "numberOfRecordSets": 2,
            "nameServers": [f"ns{i}-01.azure-dns.example." for i in (1, 2, 3, 4)],
            "zoneType": "Public",
        },
    }


def watcher(item: Item) -> dict[str, Any]:
    return {"etag": _etag(item), "properties": {"provisioningState": "Succeeded"}}


def private_endpoint(item: Item) -> dict[str, Any]:
    return _base(
        item,
        subnet=_subnet_ref(item),
        privateLinkServiceConnections=[
            {
                "name": item.name,
                "properties": {
                    "privateLinkServiceId": item.ref("Microsoft.KeyVault/vaults", item.k),
                    "groupIds": ["vault"],
                },
            }
        ],
    )


def traffic_manager(item: Item) -> dict[str, Any]:
    return {
        "location": "global",
        "properties": {
            "profileStatus": "Enabled",
            "trafficRoutingMethod": "Performance",
            "dnsConfig": {"relativeName": item.name, "ttl": 60},
            "endpoints": [],
        },
    }


def _row(type_: str, shape: Any, name: str, base: int = 0, per_vm: float = 0.0) -> ResourceType:
    return ResourceType(full=f"{_N}/{type_}", shape=shape, name=name, base=base, per_vm=per_vm)


TYPES = (
    _row("networkInterfaces", network_interface, "nic-{k:05}", per_vm=1),
    # As many as there are resource groups in the usual tenant, so that each finds its own.
    _row("virtualNetworks", virtual_network, "vnet-{k:03}", base=5, per_vm=0.02),
    _row("networkSecurityGroups", security_group, "nsg-{k:03}", base=5, per_vm=0.02),
    _row("publicIPAddresses", public_address, "pip-{k:04}", base=1, per_vm=0.25),
    _row("loadBalancers", load_balancer, "lb-{k:03}", base=1, per_vm=0.02),
    _row("applicationGateways", application_gateway, "agw-{k:03}", base=1, per_vm=0.01),
    _row("routeTables", route_table, "rt-{k:03}", base=2),
    _row("natGateways", gateway, "ng-{k:03}", base=1),
    _row("virtualNetworkGateways", gateway, "vgw-{k:03}", base=1),
    _row("azureFirewalls", firewall, "afw-{k:03}", base=1),
    _row("dnszones", zone, "zone{k:03}", base=2),
    _row("networkWatchers", watcher, "NetworkWatcher_{k:03}", base=1),
    _row("privateEndpoints", private_endpoint, "pe-{k:03}", base=3),
    _row("trafficmanagerprofiles", traffic_manager, "tm-{s}-{k:03}", base=1),
    ResourceType(
        full=f"{_N}/virtualNetworks/subnets",
        shape=subnet,
        each=2,
        name="snet-{j}",
        level="child",
        tracked=False,
    ),
)
