"""Requests to Microsoft Graph: ``service: graph``. Its version stands in the path, not the query.

https://learn.microsoft.com/graph/use-the-api
"""

from __future__ import annotations

from pipeline.errors import BadMessage
from pipeline.message_format.excerpts import excerpt
from pipeline.message_format.targets import BAD_PATH

SERVICE = "graph"
VERSIONS = ("v1.0", "beta")


def versioned(path: str, version: str, where: str) -> str:
    """The path with its version before it.

    Args:
        path: filled and percent-encoded; one that begins with the version is taken as it is.
        version: one of :data:`VERSIONS`.
        where: place of the request in the message, for the detail.

    Raises:
        BadMessage: the path begins with another version.
    """
    first = path[1:].partition("/")[0]
    if first not in VERSIONS:
        return f"/{version}{path}"
    if first != version:
        raise BadMessage(
            BAD_PATH,
            f"{where}.resource_path {excerpt(path)} is of {first} and api_version is {version}",
        )
    return path
