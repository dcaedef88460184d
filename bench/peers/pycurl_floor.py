"""The floor: one pycurl handle that fetches the same bytes, and does nothing with them.

::

    python pycurl_floor.py FILE    # of URLs, one a line

There is no queue and no table; it counts the bytes and the answers that are not 200.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pycurl


def main() -> int:
    """Fetch all; 1 if one was refused."""
    fetched = refused = 0

    def count(data: bytes) -> None:
        nonlocal fetched
        fetched += len(data)

    curl = pycurl.Curl()
    curl.setopt(pycurl.HTTPHEADER, [f"Authorization: Bearer {os.environ['AZURE_ACCESS_TOKEN']}"])
    curl.setopt(pycurl.ACCEPT_ENCODING, "gzip")
    curl.setopt(pycurl.WRITEFUNCTION, count)
    if bundle := os.environ.get("REQUESTS_CA_BUNDLE"):
        curl.setopt(pycurl.CAINFO, bundle)
    urls = Path(sys.argv[1]).read_text().split()
    for url in urls:
        curl.setopt(pycurl.URL, url)
        curl.perform()
        refused += curl.getinfo(pycurl.RESPONSE_CODE) != 200
    curl.close()
    print(f"{len(urls)} answers, {refused} refused, {fetched} bytes")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
