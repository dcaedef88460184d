"""How full the spool is, from what ``batch`` and ``load`` say.

They speak on links of their own, so the word that a batch is loaded may come before the word that
it was sealed. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

# Loaded batches remembered, in case the word that they were sealed is still on its way.
MAX_REMEMBERED = 10_000


class SpoolSize:
    """Sizes of the batches that stand in the spool.

    Attributes:
        size_bytes: of all of them.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self._sizes: dict[str, int] = {}
        self._loaded: OrderedDict[str, None] = OrderedDict()

    def sealed(self, batches: Mapping[str, int]) -> None:
        """These batches stand there, with their sizes in bytes. May be told more than once."""
        for batch_id, size_bytes in batches.items():
            if batch_id not in self._loaded and batch_id not in self._sizes:
                self._sizes[batch_id] = size_bytes
                self.size_bytes += size_bytes

    def loaded(self, batch_id: str) -> None:
        """This batch is loaded and leaves the spool. May be told more than once."""
        self.size_bytes -= self._sizes.pop(batch_id, 0)
        self._loaded[batch_id] = None
        if len(self._loaded) > MAX_REMEMBERED:
            self._loaded.popitem(last=False)
