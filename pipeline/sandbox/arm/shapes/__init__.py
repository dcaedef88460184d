"""Every resource type of the tenant. Adding one is one row in the module of its field."""

from pipeline.sandbox.arm.shapes import (
    apps,
    compute,
    data,
    governance,
    integration,
    monitor,
    network,
)

TYPES = (
    *compute.TYPES,
    *network.TYPES,
    *data.TYPES,
    *apps.TYPES,
    *integration.TYPES,
    *governance.TYPES,
    *monitor.TYPES,
)
