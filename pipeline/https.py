"""The collector's own connections to ARM: who is trusted, and through which proxy.

The Azure SDKs and the Snowflake connector read the same variables by themselves.
"""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import pycurl

from pipeline import __version__

USER_AGENT = f"azure-cloud-collector/{__version__}"
# What requests, and with it azure-identity and the Storage SDK, reads for private authorities.
BUNDLE_VARIABLE = "REQUESTS_CA_BUNDLE"
# Firewalls and NAT forget connections that are idle for minutes, and what is sent on one of those
# comes to nothing until a read times out. The kernel asks an idle connection every so often whether
# it is there: that keeps it in their books, and one that is gone is closed before it is used.
_KEEP_ALIVE_S = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
# Data that the other side's kernel has not acknowledged for so long ends the connection.
_UNACKNOWLEDGED_MS = {"TCP_USER_TIMEOUT": 30_000}
# Options of every connection that is kept; some systems know fewer.
KEEP_ALIVE: list[tuple[int, int, int]] = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in {**_KEEP_ALIVE_S, **_UNACKNOWLEDGED_MS}.items()
        if hasattr(socket, name)
    ),
]


def proxy_for(scheme: str, host: str, port: int) -> str | None:
    """URL of the proxy that HTTPS_PROXY names for this address, unless NO_PROXY excepts it.

    Plain HTTP goes to this machine only, and so never through a proxy.
    """
    if scheme != "https" or proxy_bypass(f"{host}:{port}") or proxy_bypass(host):
        return None
    return getproxies().get("https") or getproxies().get("all")


def first_hop(scheme: str, host: str, port: int) -> tuple[str, int]:
    """Host and port to which a connection is made: the proxy's, or the server's own."""
    proxy = proxy_for(scheme, host, port)
    if proxy is None:
        return host, port
    parts = urlsplit(proxy)
    return parts.hostname or host, parts.port or (443 if parts.scheme == "https" else 80)


def prepare(curl: pycurl.Curl, scheme: str, host: str, port: int) -> None:
    """Set whom a handle of libcurl trusts, and through which proxy it reaches one server.

    Nothing is taken from a ``.netrc``, no redirect is followed, no cookie kept.

    Args:
        curl: an easy handle; it is for this server only from now on.
        scheme: ``https``, or ``http`` to loopback.
        host: of the server.
        port: of the server.

    Raises:
        OSError: the bundle of REQUESTS_CA_BUNDLE cannot be read.
    """
    protocol = pycurl.PROTO_HTTPS if scheme == "https" else pycurl.PROTO_HTTP
    curl.setopt(pycurl.PROTOCOLS, protocol)
    curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    # Paths go out as they were checked: no dots are folded.
    curl.setopt(pycurl.PATH_AS_IS, 1)
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.TCP_KEEPALIVE, 1)
    curl.setopt(pycurl.TCP_KEEPIDLE, _KEEP_ALIVE_S["TCP_KEEPIDLE"])
    curl.setopt(pycurl.TCP_KEEPINTVL, _KEEP_ALIVE_S["TCP_KEEPINTVL"])
    curl.setopt(pycurl.SOCKOPTFUNCTION, _keep_alive)
    # Named here or not at all: libcurl would read variables of its own choice.
    curl.setopt(pycurl.NOPROXY, "")
    curl.setopt(pycurl.PROXY, proxy_for(scheme, host, port) or "")
    if scheme == "https":
        curl.setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
        _trust(curl)


def _trust(curl: pycurl.Curl) -> None:
    bundle = os.environ.get(BUNDLE_VARIABLE) or None
    if bundle is not None and Path(bundle).is_dir():
        file, folder = None, bundle
    elif bundle is not None:
        with Path(bundle).open("rb"):  # libcurl would say so with the first call only
            file, folder = bundle, None
    else:
        paths = ssl.get_default_verify_paths()
        file, folder = paths.cafile, paths.capath
    for options, value in (
        ((pycurl.CAINFO, pycurl.PROXY_CAINFO), file),
        ((pycurl.CAPATH, pycurl.PROXY_CAPATH), folder),
    ):
        for option in options:
            if value is None:
                curl.unsetopt(option)
            else:
                curl.setopt(option, value)


def _keep_alive(descriptor: int, _purpose: int) -> int:
    """Set what libcurl has no option for."""
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        for level, name, value in KEEP_ALIVE:
            sock.setsockopt(level, name, value)
    return int(pycurl.SOCKOPT_OK)
