"""How the collector's own HTTPS connections check who is at the other end."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

# What requests, and with it azure-identity and the Storage SDK, reads for private authorities.
BUNDLE_VARIABLE = "REQUESTS_CA_BUNDLE"


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
