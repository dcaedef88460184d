"""A pod's token from Entra ID, for a login by workload identity, within bounded time.

The connector asks for it with azure-identity's own time-outs and retries: with an Entra ID that is
silent its login takes minutes, whatever ``login_timeout`` says (4.8, tried).
"""

from __future__ import annotations

from pipeline.identity.errors import identity_error
from stages.load.connector import wif_util

CONNECT_LIMIT_S = 5
READ_LIMIT_S = 10


def pod_token(resource: str) -> str:
    """What the connector's own function of this purpose gives.

    Args:
        resource: who the token is for: Snowflake's application in Entra ID.

    Raises:
        Unreachable: no usable answer.
        Unauthorised, NotThere: Entra ID refuses the pod, or what it needs is not there.
    """
    from azure.identity import WorkloadIdentityCredential

    try:
        with WorkloadIdentityCredential(
            connection_timeout=CONNECT_LIMIT_S, read_timeout=READ_LIMIT_S, retry_total=0
        ) as credential:
            return str(credential.get_token(f"{resource}/.default").token)
    except Exception as error:
        raise identity_error(error, "workload-identity") from error


def bound() -> None:
    """Have the connector take :func:`pod_token`; it has no setting for it."""
    wif_util.get_azure_mi_token_via_aks = pod_token
