"""Connections that are kept by urllib3, for the few calls that no loop of libcurl's makes.

It stands apart from :mod:`pipeline.https`: a process that makes its calls with libcurl alone need
not import urllib3.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection

from pipeline.https import BUNDLE_VARIABLE, KEEP_ALIVE, proxy_for

SOCKET_OPTIONS = [*HTTPConnection.default_socket_options, *KEEP_ALIVE]


def tls_context() -> ssl.SSLContext:
    """TLS 1.2 or later, with the system's authorities or those of REQUESTS_CA_BUNDLE.

    Raises:
        OSError: the bundle cannot be read.
    """
    bundle = os.environ.get(BUNDLE_VARIABLE) or None
    is_folder = bundle is not None and Path(bundle).is_dir()
    context = ssl.create_default_context(
        cafile=None if is_folder else bundle, capath=bundle if is_folder else None
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def connection_pool(
    scheme: str, host: str, port: int, *, timeout: urllib3.Timeout, connections: int
) -> urllib3.HTTPConnectionPool:
    """Connections to one server, through the proxy that the environment names for it.

    A proxy only carries the TLS connection: it sees neither path nor token.

    Args:
        scheme: ``https``, or ``http`` to loopback.
        host: of the server.
        port: of the server.
        timeout: to connect, and between two reads.
        connections: kept open.
    """
    options: dict[str, Any] = {
        "timeout": timeout,
        "maxsize": connections,
        "socket_options": SOCKET_OPTIONS,
    }
    if scheme == "http":
        return urllib3.HTTPConnectionPool(host, port, **options)
    options["ssl_context"] = tls_context()
    proxy = proxy_for(scheme, host, port)
    if proxy is None:
        return urllib3.HTTPSConnectionPool(host, port, **options)
    parts = urlsplit(proxy)
    headers = None
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=login)
    manager = urllib3.ProxyManager(proxy, num_pools=1, proxy_headers=headers, **options)
    return manager.connection_from_host(host, port, scheme)
