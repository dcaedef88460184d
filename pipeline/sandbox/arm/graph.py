"""Resource Graph: queries over all subscriptions, 1,000 rows a page, with a quota of its own."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from itertools import accumulate
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pipeline.sandbox.arm import arm_errors, kql
from pipeline.sandbox.arm.catalogue import Item, ResourceType
from pipeline.sandbox.arm.graph_quota import GraphQuota
from pipeline.sandbox.arm.pages import decode_token, encode_token, parse_query
from pipeline.sandbox.arm.settings import Settings
from pipeline.sandbox.arm.tenant import Tenant
from pipeline.sandbox.arm.wire import Answer, Request, json_answer
from pipeline.undecodable import UNDECODABLE

GRAPH_PATH = "/providers/microsoft.resourcegraph/resources"
KIND = "Microsoft.ResourceGraph/resources"
# Rows that a query which must look at each of them may look at.
SCAN_MAX = 200_000
# Results of such queries that are kept for their next pages.
RESULTS_MAX = 8

# Which types are in which table, by the beginning of their name; "" is every tracked type.
_TABLES = {
    "resources": "",
    "authorizationresources": "microsoft.authorization/role",
    "policyresources": "microsoft.authorization/policy",
    "securityresources": "microsoft.security/",
    "advisorresources": "microsoft.advisor/",
}
_CONTAINERS = "resourcecontainers"

Rows = tuple[int, Callable[[int], kql.Row]]


class Options(msgspec.Struct, kw_only=True):
    """``options`` of a query."""

    top: Annotated[int, Meta(ge=1, le=1000)] | None = msgspec.field(name="$top", default=None)
    skip: Annotated[int, Meta(ge=0)] = msgspec.field(name="$skip", default=0)
    skip_token: str | None = msgspec.field(name="$skipToken", default=None)
    result_format: Literal["objectArray", "table"] = msgspec.field(
        name="resultFormat", default="objectArray"
    )


class GraphRequest(msgspec.Struct, kw_only=True):
    """The body of a query; what else ARM takes is ignored."""

    query: str
    subscriptions: list[str] | None = None
    options: Options = msgspec.field(default_factory=Options)


class Graph:
    """Answers queries.

    Args:
        tenant: what they are about.
        settings: quota and page size.
    """

    def __init__(self, tenant: Tenant, settings: Settings) -> None:
        self._tenant = tenant
        self._settings = settings
        self._quota = GraphQuota(
            settings.graph_quota, settings.graph_window_s, enforced=settings.buckets
        )
        self._results: OrderedDict[tuple[str, tuple[str, ...]], list[kql.Row]] = OrderedDict()

    def answer(self, request: Request, principal: str) -> Answer:
        """The answer to a POST.

        Args:
            request: with the query in its body.
            principal: whose quota it draws on.
        """
        if "api-version" not in parse_query(request.target.partition("?")[2]):
            return arm_errors.missing_api_version()
        headers, refusal = self._quota.draw((principal,), time.monotonic())
        if refusal is not None:
            return refusal
        return self.page(request.body).with_headers(*headers)

    def page(self, body: bytes) -> Answer:
        """One page, without looking at the quota."""
        try:
            asked = msgspec.json.decode(body, type=GraphRequest)
            count, row, has_id = self._run(asked)
        except UNDECODABLE as error:
            return _bad(f"The request body is not valid: {error}")
        except kql.QueryError as error:
            return _bad(f"Query is invalid: {error}")
        options = asked.options
        offset = options.skip
        salt = f"{asked.query}|{','.join(asked.subscriptions or ())}"
        if options.skip_token is not None:
            found = decode_token(options.skip_token, salt)
            if found is None:
                return _bad("The $skipToken is not one of this query.")
            offset = found
        size = min(options.top or self._settings.graph_page_size, self._settings.graph_page_size)
        end = max(offset, min(count, offset + size))
        rows = [row(i) for i in range(offset, end)]
        more = end < count
        value: dict[str, Any] = {
            "totalRecords": count,
            "count": len(rows),
            "data": rows if options.result_format == "objectArray" else _table(rows),
            "facets": [],
            # ARM sends this as text.
            "resultTruncated": "true" if more else "false",
        }
        # Without the column id ARM cannot go on: the rest is cut off.
        if more and has_id:
            value["$skipToken"] = encode_token(end, salt)
        return json_answer(200, value, KIND)

    def ids(self, body: bytes) -> list[str | None]:
        """Ids of the rows over all pages.

        Raises:
            msgspec.MsgspecError: the body is not a query.
            kql.QueryError: the query is not understood.
        """
        count, row, _ = self._run(msgspec.json.decode(body, type=GraphRequest))
        return [row(i).get("id") for i in range(count)]

    # -- rows

    def _run(self, asked: GraphRequest) -> tuple[int, Callable[[int], kql.Row], bool]:
        query = kql.parse(asked.query)
        wanted = [each.lower() for each in asked.subscriptions or self._tenant.subscription_ids]
        subscriptions = tuple(each for each in wanted if self._tenant.has_subscription(each))
        by_row = [
            each
            for each in query.conditions
            if each.column.lower() not in {"type", "subscriptionid"} or each.operator == "has"
        ]
        count, row = self._source(query, subscriptions)
        scans = any(verb not in {"project", "limit", "take"} for verb, _ in query.steps)
        if by_row or scans:
            rows = self._scan(asked.query, subscriptions, query, by_row, count, row)
            return len(rows), rows.__getitem__, query.has_id
        for verb, step in query.steps:
            if verb == "project":
                row = _mapped(row, step)
            else:
                count = len(step([{}] * min(count, SCAN_MAX)))
        return count, row, query.has_id

    def _scan(
        self,
        text: str,
        subscriptions: tuple[str, ...],
        query: kql.Query,
        by_row: list[kql.Condition],
        count: int,
        row: Callable[[int], kql.Row],
    ) -> list[kql.Row]:
        key = (text, subscriptions)
        if (kept := self._results.get(key)) is not None:
            return kept
        if count > SCAN_MAX:
            raise kql.QueryError(f"it looks at {count} rows, at most {SCAN_MAX} are looked at")
        rows = [each for each in map(row, range(count)) if all(test.holds(each) for test in by_row)]
        for _, step in query.steps:
            rows = step(rows)
        self._results[key] = rows
        if len(self._results) > RESULTS_MAX:
            self._results.popitem(last=False)
        return rows

    def _source(self, query: kql.Query, subscriptions: tuple[str, ...]) -> Rows:
        """The table with what its conditions on type and subscription leave, without looking."""

        def kept(column: str, value: str) -> bool:
            return all(
                each.holds({column: value})
                for each in query.conditions
                if each.column.lower() == column.lower() and each.operator != "has"
            )

        subscriptions = tuple(each for each in subscriptions if kept("subscriptionId", each))
        if query.table == _CONTAINERS:
            return self._containers(subscriptions, kept)
        start = _TABLES.get(query.table)
        if start is None:
            raise kql.QueryError(f"no table {query.table!r}; there are {sorted(_TABLES)}")
        pool = (
            self._tenant.tracked
            if not start
            else [row for name, row in self._tenant.types.items() if name.startswith(start)]
        )
        types = [row for row in pool if kept("type", row.full.lower())]
        runs = [(s, type_) for s in subscriptions for type_ in types]
        return self._runs(runs)

    def _runs(self, runs: list[tuple[str, ResourceType]]) -> Rows:
        ends = list(accumulate(self._tenant.count(type_) for _, type_ in runs))

        def row(i: int) -> kql.Row:
            run = bisect_right(ends, i)
            subscription, type_ = runs[run]
            k = i - (ends[run - 1] if run else 0)
            return self._row(self._tenant.item(subscription, type_, k))

        return (ends[-1] if ends else 0), row

    def _containers(self, subscriptions: tuple[str, ...], kept: Callable[[str, str], bool]) -> Rows:
        tenant, rows = self._tenant, []
        for subscription in subscriptions:
            if kept("type", "microsoft.resources/subscriptions"):
                rows.append((subscription, -1))
            if kept("type", "microsoft.resources/subscriptions/resourcegroups"):
                rows.extend((subscription, k) for k in range(tenant.groups))

        def row(i: int) -> kql.Row:
            subscription, k = rows[i]
            value = tenant.subscription(subscription) if k < 0 else tenant.group(subscription, k)
            return {
                "id": value["id"],
                "name": value.get("displayName") or value["name"],
                "type": "microsoft.resources/subscriptions" + ("" if k < 0 else "/resourcegroups"),
                "tenantId": tenant.id,
                "location": value.get("location", ""),
                "resourceGroup": "" if k < 0 else value["name"],
                "subscriptionId": subscription,
                "properties": value.get("properties", {"state": "Enabled"}),
                "tags": value["tags"],
            }

        return len(rows), row

    def _row(self, item: Item) -> kql.Row:
        value = self._tenant.value(item)
        return {
            "id": item.id,
            "name": item.name,
            "type": item.type.full.lower(),
            "tenantId": self._tenant.id,
            "kind": value.get("kind", ""),
            "location": value.get("location", "").lower(),
            "resourceGroup": item.group or "",
            "subscriptionId": item.subscription,
            "managedBy": value.get("managedBy") or "",
            "sku": value.get("sku"),
            "plan": None,
            "properties": value.get("properties"),
            "tags": value.get("tags"),
            "identity": value.get("identity"),
            "zones": value.get("zones"),
            "extendedLocation": None,
        }


def _mapped(
    row: Callable[[int], kql.Row], step: Callable[[list[kql.Row]], list[kql.Row]]
) -> Callable[[int], kql.Row]:
    return lambda i: step([row(i)])[0]


def _table(rows: list[kql.Row]) -> dict[str, Any]:
    names = list(rows[0]) if rows else []
    kinds = {str: "string", int: "integer", bool: "boolean"}
    columns = [{"name": name, "type": kinds.get(type(rows[0][name]), "object")} for name in names]
    return {"columns": columns, "rows": [[row.get(name) for name in names] for row in rows]}


def _bad(message: str) -> Answer:
    return arm_errors.arm_error(400, "BadRequest", message)
