"""The batch process's entry: the stage, with Arrow as it needs it.

Arrow imports numpy where that is installed, and pandas as soon as a list becomes a column, in case
it is one of pandas' own. Nothing here is. Without the two the process starts with 0.4 s of
processor time less and takes 64 MiB less (``docs/performance.md``).

A module of its own, which only the process imports: what else uses Arrow beside this stage's code,
a test for instance, may need them.
"""

from __future__ import annotations

from pipeline.imports import without

with without(("numpy", "pandas")):
    from stages.batch.stage import Batch

__all__ = ["Batch"]
