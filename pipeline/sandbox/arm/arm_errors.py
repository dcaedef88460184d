"""ARM's error bodies: codes and texts as Azure words them."""

from __future__ import annotations

from pipeline.sandbox.arm.access import TokenFault
from pipeline.sandbox.arm.wire import Answer, json_answer

# What ARM names as supported when it refuses an api-version; any well-formed date is taken.
SUPPORTED_VERSIONS = "2021-04-01, 2022-09-01, 2023-07-01, 2024-03-01, 2024-07-01"


def arm_error(status: int, code: str, message: str, kind: str = "") -> Answer:
    """An answer with the body ``{"error": {"code": ..., "message": ...}}``."""
    answer = json_answer(
        status, {"error": {"code": code, "message": message}}, kind or f"error {code}"
    )
    return answer.with_headers(("x-ms-failure-cause", "gateway"))


def missing_api_version() -> Answer:
    return arm_error(
        400,
        "MissingApiVersionParameter",
        "The api-version query parameter (?api-version=) is required for all requests.",
    )


def invalid_api_version(version: str) -> Answer:
    return arm_error(
        400,
        "InvalidApiVersionParameter",
        f"The api-version '{version}' is invalid. "
        f"The supported versions are '{SUPPORTED_VERSIONS}'.",
    )


def no_registered_provider(version: str, type_name: str) -> Answer:
    return arm_error(
        400,
        "NoRegisteredProviderFound",
        "No registered resource provider found for location 'global' and API version "
        f"'{version}' for type '{type_name}'. The supported api-versions are "
        f"'{SUPPORTED_VERSIONS}'. The supported locations are ''.",
    )


def invalid_namespace(namespace: str) -> Answer:
    return arm_error(
        404, "InvalidResourceNamespace", f"The resource namespace '{namespace}' is invalid."
    )


def invalid_type(namespace: str, type_name: str, version: str) -> Answer:
    return arm_error(
        404,
        "InvalidResourceType",
        f"The resource type '{type_name}' could not be found in the namespace '{namespace}' for "
        f"api version '{version}'. The supported api-versions are '{SUPPORTED_VERSIONS}'.",
    )


def subscription_not_found(subscription: str) -> Answer:
    return arm_error(
        404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found."
    )


def invalid_subscription(subscription: str) -> Answer:
    return arm_error(
        400,
        "InvalidSubscriptionId",
        f"The provided subscription identifier '{subscription}' is malformed or invalid.",
    )


def group_not_found(group: str) -> Answer:
    return arm_error(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")


def resource_not_found(type_and_name: str, group: str | None) -> Answer:
    """``type_and_name`` is written as ARM does: ``Microsoft.Sql/servers/S/databases/D``."""
    where = "" if group is None else f" under resource group '{group}'"
    return arm_error(
        404,
        "ResourceNotFound",
        f"The Resource '{type_and_name}'{where} was not found. For more details please go to "
        "https://aka.ms/ARMResourceNotFoundFix",
    )


def parent_not_found(type_and_name: str) -> Answer:
    return arm_error(
        404,
        "ParentResourceNotFound",
        "Failed to perform 'read' on resource(s) because the parent resource "
        f"'{type_and_name}' could not be found.",
    )


def not_found(target: str) -> Answer:
    return arm_error(404, "NotFound", f"The request path '{target}' names nothing.")


def method_not_allowed(method: str) -> Answer:
    return arm_error(
        405,
        "HttpMethodNotSupported",
        f"The HTTP method '{method}' is not supported at this path: the simulated tenant is "
        "read only.",
    )


# Of a token that is not accepted: the code, the text, and why in the challenge.
_UNAUTHORIZED: dict[TokenFault, tuple[str, str, str]] = {
    "missing": (
        "AuthenticationFailed",
        "Authentication failed. The 'Authorization' header is missing.",
        "missing 'Authorization' header",
    ),
    "unknown": (
        "InvalidAuthenticationToken",
        "The access token is invalid.",
        "invalid access token",
    ),
    "foreign": (
        "InvalidAuthenticationTokenAudience",
        "The access token has been obtained for wrong audience or resource "
        "'https://graph.microsoft.com/'. It should exactly match with one of the allowed audiences "
        "'https://management.core.windows.net/','https://management.azure.com/'.",
        "invalid audience",
    ),
}


def unauthorized(fault: TokenFault, tenant_id: str) -> Answer:
    code, message, why = _UNAUTHORIZED[fault]
    return arm_error(401, code, message).with_headers(
        (
            "WWW-Authenticate",
            f'Bearer authorization_uri="https://login.microsoftonline.com/{tenant_id}", '
            'error="invalid_token", '
            f'error_description="The authentication failed because of {why}."',
        )
    )


def rate_limited(retry_after_s: int) -> Answer:
    """Resource Graph's refusal over its quota."""
    answer = arm_error(
        429,
        "RateLimiting",
        "Client application has been throttled and should not attempt to repeat the request until "
        "an amount of time has elapsed. See https://aka.ms/resourcegraph-throttling for help.",
        kind="throttled",
    )
    return answer.with_headers(("Retry-After", str(retry_after_s)))


def throttled(retry_after_s: int, scope: str) -> Answer:
    answer = arm_error(
        429,
        "SubscriptionRequestsThrottled",
        f"Number of requests for {scope} exceeded the limit. Please try again after "
        f"'{retry_after_s}' seconds after additional tokens are available. Refer to "
        "https://aka.ms/arm-throttling for additional information.",
        kind="throttled",
    )
    return answer.with_headers(("Retry-After", str(retry_after_s)))
