"""A stand-in for Azure: a deterministic tenant served over HTTP on loopback, as two APIs.

::

    protocol ──► simulator ──┬──► resource_manager ──► graph_reads? ──► router ──► tenant, shapes
     (HTTP)      auth,       │       buckets             Resource        paths      what exists,
                 faults,     │                           Graph                      its bodies
                 recordings  └──► msgraph ──► directory
                                   Microsoft Graph, on a port of its own

It is for the local profile, tests and benchmarks: it holds no data of anybody and checks no token
beyond comparing it with those it was told to accept.
"""
