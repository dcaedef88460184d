"""Why something could not be reached, in words: the same for every library underneath."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

# Errors are chained a few deep: SDK, azure-core, requests, urllib3, socket.
CHAIN_LIMIT = 16

_UNKNOWN_NAME = ("nameresolutionerror", "failed to resolve", "name or service not known")


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, the nearest first. Some libraries keep it as an argument."""
    waiting: list[BaseException] = [error]
    for _ in range(CHAIN_LIMIT):
        if not waiting:
            return
        current = waiting.pop(0)
        yield current
        inner = (
            current.__cause__ or current.__context__,
            getattr(current, "inner_exception", None),
            getattr(current, "reason", None),
            *current.args,
        )
        waiting += [one for one in inner if isinstance(one, BaseException) and one is not current]


def network_fault(error: BaseException, host: str) -> tuple[str, str] | None:
    """What kept us from an answer, and what to check; None if it was not the network.

    Args:
        error: what was raised.
        host: the host, with its port if it has one.
    """
    chain = list(causes(error))
    text = " ".join(str(one) for one in chain).lower()
    if _has(chain, socket.gaierror) or any(words in text for words in _UNKNOWN_NAME):
        return f"no host is called {host}", "check the name"
    if _has(chain, ssl.SSLCertVerificationError) or "certificate_verify_failed" in text:
        return (
            f"the certificate of {host} is not trusted",
            "a proxy's or private authority's certificate goes into REQUESTS_CA_BUNDLE",
        )
    if _has(chain, ssl.SSLError) or "ssl: " in text or "[ssl" in text:
        return f"{host} does not speak TLS as expected", "check scheme and port"
    if _has(chain, ConnectionRefusedError) or "connection refused" in text:
        return f"{host} refused the connection", "check host, port, and that it runs"
    if _has(chain, TimeoutError) or "timed out" in text or "timeout" in text:
        return f"{host} did not answer in time", "check network, firewall and proxy"
    if _has(chain, ConnectionError, OSError) or "connection" in text:
        return f"the connection to {host} broke", "check network, firewall and proxy"
    return None


def _has(chain: list[BaseException], *types: type[BaseException]) -> bool:
    return any(isinstance(one, types) for one in chain)
