"""What a link carries: msgspec Structs, encoded as msgpack arrays with a tag."""

from __future__ import annotations

import msgspec


class Link(msgspec.Struct, array_like=True, tag=True, gc=False, frozen=True):
    """Base of what a link carries."""
