"""From one page of a list to the next, and never in circles. Pure."""

from __future__ import annotations

import hashlib

import msgspec

from pipeline.messages import PlannedRequest
from stages.execute.origin import Origin
from stages.execute.rows import Page
from stages.execute.steps import Call

# Pages of one list; more is taken for a loop that its links hide.
MAX_PAGES = 20_000

_GRAPH_PATH = "/providers/microsoft.resourcegraph/resources"


class PagingFailed(Exception):
    """A list without an end.

    Args:
        code: ``PagingLoop`` or ``TooManyPages``.
        problem: what happened.
    """

    def __init__(self, code: str, problem: str) -> None:
        super().__init__(problem)
        self.code = code


def is_graph_query(planned: PlannedRequest) -> bool:
    """Whether it is a query of Resource Graph, whose pages go by ``$skipToken``."""
    return planned.method == "POST" and _GRAPH_PATH in planned.target.lower()


class Paging:
    """The pages of one request.

    Args:
        planned: the request.
        origin: whose links may be followed.

    Attributes:
        pages: read so far.
    """

    def __init__(self, planned: PlannedRequest, origin: Origin) -> None:
        self.pages = 0
        self._planned = planned
        self._origin = origin
        self._visited: set[bytes] = set()

    def after(self, page: Page, call: Call) -> Call | None:
        """The call for the page after this one; None if it is the last.

        Args:
            page: one that was read.
            call: what it answered.

        Raises:
            ForeignLink: its link leads to another origin.
            PagingFailed: its link leads back, or there are too many pages.
        """
        self.pages += 1
        following = self._following(page, call)
        if following is None:
            return None
        if self.pages >= MAX_PAGES:
            raise PagingFailed("TooManyPages", f"more than {MAX_PAGES} pages")
        mark = _mark(following)
        if mark in self._visited or following == call:
            raise PagingFailed("PagingLoop", f"page {self.pages} leads back")
        self._visited.add(mark)
        return following

    def _following(self, page: Page, call: Call) -> Call | None:
        planned = self._planned
        if page.skip_token is not None:
            body = _with_skip_token(planned.body or b"{}", page.skip_token)
            return Call("POST", planned.target, planned.headers, body)
        # A link beside Resource Graph's rows is none of its own.
        if page.next_link is None or is_graph_query(planned):
            return None
        following = self._origin.follow(call.target, page.next_link)
        if page.asked_again:
            return Call("POST", following, planned.headers, planned.body)
        return Call("GET", following, planned.headers, None)


def _mark(call: Call) -> bytes:
    # Links are long, and lists have many pages.
    return hashlib.blake2b(call.target.encode() + b"\n" + (call.body or b"")).digest()[:16]


def _with_skip_token(body: bytes, skip_token: str) -> bytes:
    """The Resource Graph query's body, asking for the page after this token."""
    whole = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    options = msgspec.json.decode(
        whole.get("options") or b"null", type=dict[str, msgspec.Raw] | None
    )
    options = options or {}
    options["$skipToken"] = msgspec.Raw(msgspec.json.encode(skip_token))
    whole["options"] = msgspec.Raw(msgspec.json.encode(options))
    return msgspec.json.encode(whole)
