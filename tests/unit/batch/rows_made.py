"""Frames as ``execute`` writes them."""

from __future__ import annotations

from pipeline.messages import LeaseRef, Outcome, RequestKey, Resource, Rows


def lease(number: int = 1, attempt: int = 1) -> LeaseRef:
    return LeaseRef(number, attempt, "q", f"qid-{number}", "pop", f"m-{number}", None, 5, 2, 3)


def outcome(rows: int, kind: str = "complete") -> Outcome:
    return Outcome(
        kind, "https://x/a", 200, None, None, 1, rows, 1, 12, "r", 100, 200, "provider",
        body_hash="all",
    )  # fmt: skip


def resource(number: int, body: bytes | None = b'{"a":1}') -> Resource:
    return Resource(f"key-{number}", f"/{number}", "t", "n", "we", "s", "g", body, "h", 7)


def frame(
    numbers: range, *, total: int | None = None, index: int = 0, of: LeaseRef | None = None,
    body: bytes = b'{"a":1}',
) -> Rows:  # fmt: skip
    """A frame with these rows; ``total`` makes it its request's last."""
    key = RequestKey(index, "compute", "GET", "2024-07-01", "")
    ended = None if total is None else outcome(total)
    return Rows(of or lease(), key, [resource(number, body) for number in numbers], ended)
