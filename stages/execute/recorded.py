"""An answer that serves more than one request: its pages, whole or not at all."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from msgspec import Struct

from pipeline.messages import Outcome
from stages.execute.rows import Page

# Of one answer; a longer one is asked for by each.
MAX_RECORD_BYTES = 8 * 1024 * 1024
# What an element takes beside its text, about.
_ELEMENT_BYTES = 64

# Outcomes that hold for whoever asks the same. Those of the way, a time-out say, are one's own.
SHARED_OUTCOMES = frozenset({"complete", "not_found", "forbidden", "rejected"})


class RecordedPage(Struct, frozen=True):
    """A page as it was read.

    Attributes:
        page: taken apart.
        collected_at_us: when Azure answered, microseconds since 1970 UTC.
        source: who did.
    """

    page: Page
    collected_at_us: int
    source: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """How a request ended, for others that ask the same.

    Attributes:
        outcome: one of :data:`SHARED_OUTCOMES`.
        pages: all of them; none unless complete.
        source: who gave the last answer.
        azure_request_id: of the last answer.
        etag: of the only page, or None.
        size_bytes: about, in memory.
        asked_s: when its first call was made, monotonic seconds.
    """

    outcome: str
    status: int
    error_code: str | None
    error_message: str | None
    pages: tuple[RecordedPage, ...]
    source: str | None
    azure_request_id: str | None
    etag: str | None
    size_bytes: int
    asked_s: float


class RecordSpace:
    """Memory for what is recorded, shared by the threads of a process.

    Args:
        limit_bytes: for all together.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._used_bytes = 0
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> bool:
        """Take so much, if there is room for it."""
        with self._lock:
            if self._used_bytes + size_bytes > self._limit_bytes:
                return False
            self._used_bytes += size_bytes
            return True

    def give_back(self, size_bytes: int) -> None:
        """Use so much less."""
        with self._lock:
            self._used_bytes -= size_bytes


@dataclass(slots=True)
class Recording:
    """The pages of a request under way.

    Attributes:
        space: where it takes its memory.
        whole: all pages so far are here.
    """

    space: RecordSpace
    whole: bool = True
    pages: list[RecordedPage] = field(default_factory=list)
    etag: str | None = None
    size_bytes: int = 0

    def add(self, page: RecordedPage, etag: str | None) -> None:
        """Keep a page, if it is not too much.

        Args:
            page: the next one.
            etag: that it came with, or None.
        """
        if not self.whole:
            return
        size_bytes = _size_of(page.page)
        if self.size_bytes + size_bytes > MAX_RECORD_BYTES or not self.space.take(size_bytes):
            self.drop()
            self.whole = False
            return
        self.size_bytes += size_bytes
        self.pages.append(page)
        # What is said of one page is said of no list.
        self.etag = etag if len(self.pages) == 1 else None

    def ended(self, outcome: Outcome, asked_s: float) -> Recorded | None:
        """How the request ended, for others; None if that is its own affair.

        Args:
            outcome: of the request.
            asked_s: when its first call was made, monotonic seconds.
        """
        status = outcome.status_code
        if not self.whole or status is None or outcome.outcome not in SHARED_OUTCOMES:
            return None
        return Recorded(
            outcome=outcome.outcome,
            status=status,
            error_code=outcome.error_code,
            error_message=outcome.error_message,
            pages=tuple(self.pages) if outcome.outcome == "complete" else (),
            source=outcome.source,
            azure_request_id=outcome.azure_request_id,
            etag=self.etag,
            size_bytes=self.size_bytes,
            asked_s=asked_s,
        )

    def drop(self) -> None:
        """Forget what is here; a request that begins anew is recorded anew."""
        self.space.give_back(self.size_bytes)
        self.whole = True
        self.pages = []
        self.etag = None
        self.size_bytes = 0


def _size_of(page: Page) -> int:
    if page.elements is not None:
        return sum(map(len, page.elements)) + _ELEMENT_BYTES * (1 + len(page.elements))
    return len(page.body or b"") + _ELEMENT_BYTES
