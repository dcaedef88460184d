"""Single resources of any size: what a large answer is measured with."""

from __future__ import annotations

import zlib

import msgspec

from pipeline.sandbox.arm.catalogue import Item

# A resource tells more of its kind in ``resources``, as a virtual machine tells its extensions.
_BEGIN, _END = b',"resources":[', b"]}"
# What is left to the size, if there is room for it.
_FILLER = b'{"name":"%b"}'
_FILLER_LEAST_BYTES = len(_FILLER % b"")
_SETTINGS = 8

_encode = msgspec.json.Encoder().encode


def padded(body: bytes, item: Item, size_bytes: int) -> bytes:
    """A resource's JSON made as long as asked; as it is where there is no room for more.

    Args:
        body: a JSON object.
        item: whose it is; its extensions are made up.
        size_bytes: of what is returned, or less by no more than the shortest filler.
    """
    # Each part has a comma before it, but for the first.
    left = size_bytes - len(body) + 1 - len(_BEGIN) - len(_END) + 1
    parts: list[bytes] = []
    while left - 1 >= len(extension := _extension(item, len(parts))):
        parts.append(extension)
        left -= len(extension) + 1
    if left - 1 >= _FILLER_LEAST_BYTES:
        parts.append(_FILLER % (b"x" * (left - 1 - _FILLER_LEAST_BYTES)))
    return body[:-1] + _BEGIN + b",".join(parts) + _END if parts else body


def _extension(item: Item, number: int) -> bytes:
    name = f"extension-{number:04}"
    return _encode(
        {
            "id": f"{item.id}/extensions/{name}",
            "name": name,
            "type": "Microsoft.Compute/virtualMachines/extensions",
            "location": item.location,
            "properties": {
                "publisher": "Microsoft.Azure.Extensions",
                "type": "CustomScript",
                "typeHandlerVersion": f"2.{number}",
                "autoUpgradeMinorVersion": number % 2 == 0,
                "provisioningState": "Succeeded",
                "settings": {
                    f"key{key}": f"{zlib.crc32(name.encode(), item.seed + key):08x}"
                    for key in range(_SETTINGS)
                },
            },
        }
    )
