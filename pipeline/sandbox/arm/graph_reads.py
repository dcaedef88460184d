"""``useResourceGraph=true``: ordinary GETs that Resource Graph answers in place of the provider.

It covers one resource, and the resources of one type in a subscription or in a resource group, if
they are tracked and stand for themselves. The flag of any other request is ignored.
https://learn.microsoft.com/azure/governance/resource-graph/concepts/azure-resource-graph-get-list-api
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import msgspec

from pipeline.sandbox.arm.arm_errors import SUPPORTED_VERSIONS
from pipeline.sandbox.arm.graph_quota import GraphQuota
from pipeline.sandbox.arm.pages import Listing, One, Row, page, parse_query
from pipeline.sandbox.arm.router import Action, Router
from pipeline.sandbox.arm.settings import Settings
from pipeline.sandbox.arm.tenant import Tenant
from pipeline.sandbox.arm.wire import JSON_TYPE, Answer, Request

FLAG = "useresourcegraph"
# How long ago every resource was indexed, seconds.
INDEXED_AGO_S = 3.0
# What each answer says that it took, in Resource Graph's form.
DURATION = "0:00:00:00.0138132"
# Resource Graph has one version of each type, whatever the request asks for.
API_VERSION = SUPPORTED_VERSIONS.rpartition(" ")[2]

_EXTRA = b',"apiVersion":' + msgspec.json.encode(API_VERSION) + b"}"


class GraphReads:
    """Answers such requests.

    Args:
        tenant: which types there are.
        router: finds what a path names.
        settings: quota and page size.
    """

    def __init__(self, tenant: Tenant, router: Router, settings: Settings) -> None:
        self._types = tenant.types
        self._router = router
        self._page_size = settings.page_size
        self._quota = GraphQuota(
            settings.graph_get_quota, settings.graph_get_window_s, enforced=settings.buckets
        )

    def answer(self, request: Request, principal: str, origin: str) -> Answer | None:
        """The answer to a GET.

        Args:
            request: whatever is asked.
            principal: whose quota it draws on, with the subscription.
            origin: of the links, as the client called it.

        Returns:
            None for what the provider answers.
        """
        path, _, query = request.target.partition("?")
        if FLAG not in query.lower() or parse_query(query).get(FLAG, "").lower() != "true":
            return None
        subscription = self._covered(path)
        if subscription is None:
            return None
        headers, refusal = self._quota.draw((principal, subscription), time.monotonic())
        if refusal is not None:
            return refusal
        headers = (*headers, ("x-ms-resource-graph-request-duration", DURATION))
        return self._found(request.target, origin).with_headers(*headers)

    def _covered(self, path: str) -> str | None:
        """The subscription of a path that is covered; None for any other."""
        segments = [unquote(part).lower() for part in path.split("/") if part]
        if len(segments) < 2 or segments[0] != "subscriptions":
            return None
        rest = segments[2:]
        in_group = len(rest) > 2 and rest[0] == "resourcegroups"
        rest = rest[2:] if in_group else rest
        # A list of one type, or, in a resource group, one resource.
        if len(rest) not in ({3, 4} if in_group else {3}) or rest[0] != "providers":
            return None
        type_ = self._types.get(f"{rest[1]}/{rest[2]}")
        is_known = type_ is not None and type_.tracked and type_.level == "group"
        return segments[1] if is_known else None

    def _found(self, target: str, origin: str) -> Answer:
        found = self._router.resolve(target)
        if isinstance(found, Listing):
            rows = found.row
            listing = Listing(found.kind, found.count, lambda i: _with_version(rows(i)))
            answer = page(listing, origin, target, self._page_size)
        elif isinstance(found, One):
            headers = (
                ("Content-Type", JSON_TYPE),
                ("x-ms-arg-snapshot-timestamp", _snapshot(datetime.now(UTC))),
            )
            answer = Answer(200, _extended(found.body), headers, found.kind)
        else:
            # A path that is covered names no action.
            assert not isinstance(found, Action)
            answer = found
        return msgspec.structs.replace(answer, kind=f"{answer.kind} from Resource Graph")


def _with_version(row: Row) -> Row:
    return Row(row.id, _extended(row.body))


def _extended(body: bytes) -> bytes:
    """A resource's JSON with the version it was indexed with."""
    return body[:-1] + _EXTRA


def _snapshot(now: datetime) -> str:
    at = now - timedelta(seconds=INDEXED_AGO_S)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06}0Z"
