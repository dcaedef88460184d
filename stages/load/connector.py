"""The Snowflake connector as the stage has it: without what it would carry along for nothing.

It imports the SDKs of two clouds, and a keyring, wherever they are installed (4.8, ``options.py``):
for storage of tokens, and for logins by workload identity on AWS and in a pod on Azure. Nobody asks
for the first two here, and the last is :mod:`stages.load.workload`'s own. Without them a process
starts with a quarter of a second of processor time less.
"""

from __future__ import annotations

import mimetypes

from pipeline.imports import without

_UNUSED = ("aioboto3", "aiobotocore", "azure.identity", "boto3", "botocore", "keyring")

with without(_UNUSED):
    from snowflake.connector import connect, errors, wif_util
    from snowflake.connector.pandas_tools import write_pandas
    from snowflake.connector.util_text import construct_hostname
    from snowflake.connector.vendored.requests.exceptions import RequestException
    from snowflake.connector.vendored.urllib3.connection import HTTPConnection

# It asks for the type of each file it puts, by the name. Python knows enough types by itself, and
# need not read what lists of more there are on this machine.
mimetypes.init(())

__all__ = [
    "HTTPConnection",
    "RequestException",
    "connect",
    "construct_hostname",
    "errors",
    "wif_util",
    "write_pandas",
]
