"""A stand-in for Azure Resource Manager: a deterministic tenant served over HTTP on loopback.

::

    protocol ──► simulator ──► recordings? ──► router ──► tenant ──► shapes
     (HTTP)      auth, buckets,   exact         paths      what       what a body
                 faults           answers                  exists     looks like

It is for the local profile, tests and benchmarks: it holds no data of anybody and checks no token
beyond comparing it with those it was told to accept.
"""
