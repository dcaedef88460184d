"""What an answer that is no success means: to try again, for whom else, and as which outcome."""

from __future__ import annotations

_RETRYABLE_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_GRAPH_THROTTLED = "RateLimiting"
_SCOPE_THROTTLED = frozenset(
    {"SubscriptionRequestsThrottled", "TenantRequestsThrottled", _GRAPH_THROTTLED}
)


def is_retryable(status: int) -> bool:
    """Another try may be answered."""
    return status in _RETRYABLE_STATUS


def throttles_scope(code: str, *, by_graph: bool) -> bool:
    """A 429 with this code holds up all of its scope, not only calls of its kind.

    Args:
        code: ARM's.
        by_graph: Resource Graph answered a request in a provider's place.
    """
    # Resource Graph counts what it answers; the calls beside it are ARM's to count.
    return code in _SCOPE_THROTTLED and not (by_graph and code == _GRAPH_THROTTLED)


def outcome_of(status: int, *, of_itself: bool) -> str:
    """The outcome of a request that ends with this status.

    Args:
        status: from 400 on.
        of_itself: of what was asked for, rather than of a page or a result that a link led to.
    """
    if status in (401, 403):
        return "forbidden"
    if status == 404:
        # A page or a result that is gone does not mean that the resource is.
        return "not_found" if of_itself else "failed"
    return "rejected" if status < 500 else "failed"
