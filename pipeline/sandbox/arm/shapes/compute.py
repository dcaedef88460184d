"""Microsoft.Compute: virtual machines, their disks and what goes with them."""

from __future__ import annotations

from typing import Any

from pipeline.sandbox.arm.catalogue import Item, ResourceType, fixed

# Each machine has a system disk and a data disk, at twice its own ordinal and the next.
DISKS_PER_VM = 2

_SIZES = ("Standard_D2s_v5", "Standard_D4s_v5", "Standard_E8s_v5", "Standard_B2ms")
_IMAGES = (
    ("Canonical", "0001-com-ubuntu-server-jammy", "22_04-lts-gen2", "Linux"),
    ("RedHat", "RHEL", "9-lvm-gen2", "Linux"),
    ("MicrosoftWindowsServer", "WindowsServer", "2022-datacenter-g2", "Windows"),
)


def virtual_machine(item: Item) -> dict[str, Any]:
    publisher, offer, sku, system = item.pick("image", *_IMAGES)
    size = item.pick("size", *_SIZES)
    return {
        "zones": [item.pick("zone", "1", "2", "3")],
        "identity": {
            "type": "SystemAssigned",
            "principalId": item.guid("principal"),
            "tenantId": item.tenant.id,
        },
        "properties": {
            "vmId": item.guid("vm"),
            "hardwareProfile": {"vmSize": size},
            "storageProfile": {
                "imageReference": {
                    "publisher": publisher,
                    "offer": offer,
                    "sku": sku,
                    "version": "latest",
                    "exactVersion": f"{sku[:2].strip('-')}.{item.number('image', 1, 40)}.0",
                },
                "osDisk": {
                    "osType": system,
                    "name": item.tenant.item_at(
                        item.subscription, "Microsoft.Compute/disks", item.k * DISKS_PER_VM
                    ).name,
                    "createOption": "FromImage",
                    "caching": "ReadWrite",
                    "managedDisk": _disk(item, 0, "Premium_LRS"),
                    "deleteOption": "Delete",
                    "diskSizeGB": item.pick("os", 30, 64, 127),
                },
                "dataDisks": [
                    {
                        "lun": 0,
                        "name": item.tenant.item_at(
                            item.subscription, "Microsoft.Compute/disks", item.k * DISKS_PER_VM + 1
                        ).name,
                        "createOption": "Attach",
                        "caching": "None",
                        "managedDisk": _disk(item, 1, "StandardSSD_LRS"),
                        "deleteOption": "Detach",
                        "diskSizeGB": item.pick("data", 128, 256, 512),
                        "toBeDetached": False,
                    }
                ],
                "diskControllerType": "SCSI",
            },
            "osProfile": _os_profile(item, system),
            "networkProfile": {
                "networkInterfaces": [
                    {
                        "id": item.ref("Microsoft.Network/networkInterfaces", item.k),
                        "properties": {"primary": True, "deleteOption": "Detach"},
                    }
                ]
            },
            "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
            "provisioningState": item.pick("state", *["Succeeded"] * 19, "Updating"),
            "timeCreated": item.time().replace("Z", "+00:00"),
        },
        "etag": f'"{item.number("etag", 1, 99)}"',
    }


def _disk(item: Item, which: int, kind: str) -> dict[str, str]:
    k = item.k * DISKS_PER_VM + which
    return {"storageAccountType": kind, "id": item.ref("Microsoft.Compute/disks", k)}


def _os_profile(item: Item, system: str) -> dict[str, Any]:
    profile: dict[str, Any] = {"computerName": item.name, "adminUsername": "azureadmin"}
    if system == "Linux":
        profile["linuxConfiguration"] = {
            "disablePasswordAuthentication": True,
            "provisionVMAgent": True,
            "patchSettings": {"patchMode": "ImageDefault", "assessmentMode": "ImageDefault"},
        }
    else:
        profile["windowsConfiguration"] = {
            "provisionVMAgent": True,
            "enableAutomaticUpdates": True,
            "patchSettings": {"patchMode": "AutomaticByOS", "assessmentMode": "ImageDefault"},
        }
    return {**profile, "secrets": [], "allowExtensionOperations": True}


def disk(item: Item) -> dict[str, Any]:
    is_system = item.k % DISKS_PER_VM == 0
    kind = "Premium_LRS" if is_system else "StandardSSD_LRS"
    size_gb = item.pick("size", 30, 64, 128, 256, 512)
    return {
        "managedBy": item.ref("Microsoft.Compute/virtualMachines", item.k // DISKS_PER_VM),
        "sku": {"name": kind, "tier": kind.partition("_")[0]},
        "zones": [item.pick("zone", "1", "2", "3")],
        "properties": {
            **({"osType": "Linux", "hyperVGeneration": "V2"} if is_system else {}),
            "creationData": {"createOption": "FromImage" if is_system else "Empty"},
            "diskSizeGB": size_gb,
            "diskIOPSReadWrite": 120 if size_gb < 128 else 500,
            "diskMBpsReadWrite": 25 if size_gb < 128 else 60,
            "encryption": {"type": "EncryptionAtRestWithPlatformKey"},
            "networkAccessPolicy": "AllowAll",
            "publicNetworkAccess": "Enabled",
            "timeCreated": item.time().replace("Z", "+00:00"),
            "provisioningState": "Succeeded",
            "diskState": "Attached",
            "diskSizeBytes": size_gb * 2**30,
            "uniqueId": item.guid("disk"),
        },
    }


def scale_set(item: Item) -> dict[str, Any]:
    return {
        "sku": {"name": item.pick("size", *_SIZES), "tier": "Standard", "capacity": 3},
        "properties": {
            "singlePlacementGroup": False,
            "orchestrationMode": "Uniform",
            "upgradePolicy": {"mode": "Manual"},
            "provisioningState": "Succeeded",
            "overprovision": True,
            "uniqueId": item.guid("vmss"),
            "timeCreated": item.time(),
        },
    }


def snapshot(item: Item) -> dict[str, Any]:
    return {
        "sku": {"name": "Standard_LRS", "tier": "Standard"},
        "properties": {
            "creationData": {
                "createOption": "Copy",
                "sourceResourceId": item.ref("Microsoft.Compute/disks", item.k),
            },
            "diskSizeGB": 128,
            "incremental": True,
            "timeCreated": item.time(),
            "provisioningState": "Succeeded",
            "diskState": "Unattached",
            "uniqueId": item.guid("snapshot"),
        },
    }


availability_set = fixed(
    sku={"name": "Aligned"},
    properties={
        "platformUpdateDomainCount": 5,
        "platformFaultDomainCount": 2,
        "virtualMachines": [],
    },
)


image = fixed(
    properties={
        "storageProfile": {"osDisk": {"osType": "Linux", "osState": "Generalized"}},
        "hyperVGeneration": "V2",
        "provisioningState": "Succeeded",
    }
)


def extension(item: Item) -> dict[str, Any]:
    return {
        "properties": {
            "publisher": "Microsoft.Azure.Monitor",
            "type": item.name,
            "typeHandlerVersion": "1.33",
            "autoUpgradeMinorVersion": True,
            "provisioningState": "Succeeded",
        }
    }


def usage(item: Item) -> dict[str, Any]:
    return {
        "unit": "Count",
        "currentValue": item.number("used", 0, 80),
        "limit": 100,
        "name": {"value": item.name, "localizedValue": item.name},
    }


def vm_size(item: Item) -> dict[str, Any]:
    cores = 2 ** (1 + item.k % 5)
    return {
        "name": f"Standard_D{cores}s_v5",
        "numberOfCores": cores,
        "osDiskSizeInMB": 1_047_552,
        "resourceDiskSizeInMB": 0,
        "memoryInMB": cores * 4096,
        "maxDataDiskCount": min(32, cores * 2),
    }


def sku(item: Item) -> dict[str, Any]:
    name = f"Standard_{item.pick('family', 'D', 'E', 'F')}{2 * (item.k + 1)}s_v5"
    return {
        "resourceType": "virtualMachines",
        "name": name,
        "tier": "Standard",
        "size": name.partition("_")[2],
        "locations": [item.location],
        "capabilities": [{"name": "vCPUs", "value": str(2 * (item.k + 1))}],
        "restrictions": [],
    }


_C = "Microsoft.Compute"
TYPES = (
    ResourceType(full=f"{_C}/virtualMachines", shape=virtual_machine, per_vm=1, name="vm-{k:05}"),
    ResourceType(
        full=f"{_C}/disks", shape=disk, per_vm=2, name="disk-{k:06}", together=DISKS_PER_VM
    ),
    ResourceType(
        full=f"{_C}/virtualMachineScaleSets",
        shape=scale_set,
        base=1,
        per_vm=0.02,
        name="vmss-{k:03}",
    ),
    ResourceType(full=f"{_C}/snapshots", shape=snapshot, base=1, per_vm=0.1, name="snap-{k:05}"),
    ResourceType(
        full=f"{_C}/availabilitySets", shape=availability_set, base=2, name="avail-{k:03}"
    ),
    ResourceType(full=f"{_C}/images", shape=image, base=1, name="image-{k:03}"),
    ResourceType(
        full=f"{_C}/virtualMachines/extensions",
        shape=extension,
        each=1,
        level="child",
        name=("AzureMonitorLinuxAgent",),
    ),
    ResourceType(
        full=f"{_C}/locations/usages",
        shape=usage,
        base=4,
        level="plain",
        tracked=False,
        name=("cores", "virtualMachines", "availabilitySets", "standardDSv5Family"),
    ),
    ResourceType(
        full=f"{_C}/locations/vmSizes",
        shape=vm_size,
        base=5,
        level="plain",
        tracked=False,
        name="size-{k}",
    ),
    ResourceType(
        full=f"{_C}/skus", shape=sku, base=6, level="plain", tracked=False, name="sku-{k}"
    ),
)
