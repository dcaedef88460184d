"""Can the host be reached at all? The connector says only that it could not connect."""

from __future__ import annotations

import socket
from urllib.request import getproxies

from pipeline.config import Config
from pipeline.errors import NotThere, Unreachable
from stages.load.connector import construct_hostname
from stages.load.failures import WHAT

# For one TCP connection.
REACH_LIMIT_S = 5.0
HTTPS_PORT = 443


def address(config: Config) -> tuple[str, int]:
    """Host and port that the connector will talk to."""
    host = config.snowflake_host or construct_hostname(None, config.required("snowflake_account"))
    return str(host), config.snowflake_port or HTTPS_PORT


def reach(config: Config) -> str:
    """Open and close a TCP connection.

    Returns:
        What was reached, as text. Behind a proxy nothing is tried: it alone knows the way.

    Raises:
        NotThere: the name has no address.
        Unreachable: nothing answers there.
    """
    host, port = address(config)
    if (config.snowflake_protocol or "https") in getproxies():
        return f"{host}:{port}, through a proxy"
    try:
        socket.create_connection((host, port), REACH_LIMIT_S).close()
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise Unreachable(
                WHAT, f"{host}: no name server answers", "check the network"
            ) from error
        hint = "check SNOWFLAKE_ACCOUNT and SNOWFLAKE_HOST"
        raise NotThere(WHAT, f"{host}: no such host name", hint) from error
    except TimeoutError as error:
        problem = f"{host}:{port}: no answer in {REACH_LIMIT_S:.0f} s"
        raise Unreachable(WHAT, problem, "check firewalls and the proxy settings") from error
    except OSError as error:
        hint = "check SNOWFLAKE_HOST and SNOWFLAKE_PORT, and firewalls on the way"
        raise Unreachable(WHAT, f"{host}:{port}: {error.strerror or error}", hint) from error
    return f"{host}:{port}"
