"""Whether the collector in this container is alive: exit code 0 or 1, for Docker's HEALTHCHECK.

Asks ``/healthz``, which takes no token. A slim image has no curl.
"""

from __future__ import annotations

import http.client
import os
import sys

DEFAULT_PORT = 8080
# Less than the HEALTHCHECK's own limit, so that the reason is printed.
LIMIT_S = 4.0
# Docker keeps the first 4 KiB of what a check prints.
SHOWN_BYTES = 1000


def main() -> int:
    """Ask once.

    Returns:
        0 if the collector says that it is well, or serves nothing (``OPS_PORT=0``); else 1.
    """
    port = int(os.environ.get("OPS_PORT", "").strip() or DEFAULT_PORT)
    if port == 0:
        return 0
    # Whatever address OPS_HOST names, the collector is in this container.
    host = os.environ.get("OPS_HOST", "").strip()
    host = "127.0.0.1" if host in ("", "0.0.0.0") else host  # noqa: S104 - compared, not bound
    connection = http.client.HTTPConnection("::1" if host == "::" else host, port, timeout=LIMIT_S)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        said = answer.read(SHOWN_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        print(f"/healthz at port {port}: {error!r}")
        return 1
    finally:
        connection.close()
    print(said)
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
