"""Which POST paths read: everything else that is POSTed may write.

Azure Resource Manager's shape: after ``/providers/<namespace>`` come pairs of type and name, so an
action is the odd one at the end (``virtualMachines/vm-1/start``). Only actions listed here count as
reads; a new one is one line. Source: the operations in Azure's REST reference, by what each is said
to do.
"""

from __future__ import annotations

import re

from pipeline.messages import ARM, MICROSOFT_GRAPH

# ``listKeys``, ``config/appsettings/list`` and the like read by ARM's naming rule.
_LIST_ACTION = re.compile(r"list(?!en)[a-z]*")
_CHECK_ACTION = re.compile(r"check[a-z]*availability")

_ANY_PROVIDER = frozenset(
    {
        # queries
        "forecast",
        "query",
        "queryactivityruns",
        "queryflowlogstatus",
        "queryindicators",
        "querypipelineruns",
        "queryresults",
        "querytriggerruns",
        "querytroubleshootresult",
        "search",
        "summarize",
        # checks
        "checkaccess",
        "checkpolicyrestrictions",
        "checkresourcename",
        "checkzonepeers",
        # reads that take their time or a body
        "effectivenetworksecuritygroups",
        "effectiveroutetable",
        "exporttemplate",
        "getadvertisedroutes",
        "getbgppeerstatus",
        "getentities",
        "getlearnedroutes",
        "getvpnclientconnectionhealth",
        "securitygroupview",
        "topology",
    }
)
# Collections that are read by POST; elsewhere a POST to such a name might create.
_BY_PROVIDER = {
    "microsoft.resourcegraph": frozenset(
        {"resources", "resourceshistory", "resourcechanges", "resourcechangedetails"}
    ),
    "microsoft.insights": frozenset({"metrics"}),
}
# Reads on a scope that is no provider's: /subscriptions/…/resourceGroups/rg-1/exportTemplate.
_ANY_SCOPE = frozenset({"exporttemplate"})
# Microsoft Graph's actions that read, by the last segment; a namespace may stand before it.
# https://learn.microsoft.com/graph/api/overview
_MICROSOFT_GRAPH = frozenset(
    {
        "checkmembergroups",
        "checkmemberobjects",
        "getavailableextensionproperties",
        "getbyids",
        "getmembergroups",
        "getmemberobjects",
        "runhuntingquery",
    }
)
_GRAPH_NAMESPACE = "microsoft.graph."


def is_read(path: str, audience: str = ARM) -> bool:
    """Whether a POST to this path reads.

    Args:
        path: filled and percent-encoded, without query.
        audience: whose path it is.
    """
    segments = path.strip("/").lower().split("/")
    if audience == MICROSOFT_GRAPH:
        return segments[-1].removeprefix(_GRAPH_NAMESPACE).removesuffix("()") in _MICROSOFT_GRAPH
    if "providers" not in segments:
        return segments[-1] in _ANY_SCOPE
    at = len(segments) - segments[::-1].index("providers")
    provider, rest = "".join(segments[at : at + 1]), segments[at + 1 :]
    if rest[-2:] == ["api", "query"]:  # Log Analytics: workspaces/<name>/api/query
        del rest[-2]
    if len(rest) % 2 == 0:  # a resource, not an action on one
        return False
    action = rest[-1]
    return (
        action in _ANY_PROVIDER
        or action in _BY_PROVIDER.get(provider, ())
        or _LIST_ACTION.fullmatch(action) is not None
        or _CHECK_ACTION.fullmatch(action) is not None
    )
