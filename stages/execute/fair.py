"""Who is next of those that wait in one line: messages in turn, so a long one delays no short one.

Pure.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What may wait: a request of a message."""

    @property
    def message(self) -> Hashable:
        """Which message it is of."""
        ...


T = TypeVar("T", bound=Waiting)


class FairLine(Generic[T]):
    """Requests in line: each message's in their order, the messages in turn."""

    __slots__ = ("_messages",)

    def __init__(self) -> None:
        self._messages: OrderedDict[Hashable, deque[T]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._messages)

    def __iter__(self) -> Iterator[T]:
        for requests in self._messages.values():
            yield from requests

    def add(self, request: T) -> None:
        """Put a request behind its message's others."""
        requests = self._messages.get(request.message)
        if requests is None:
            self._messages[request.message] = deque((request,))
        else:
            requests.append(request)

    def pop(self) -> T:
        """Take the next request.

        Raises:
            KeyError: nobody is in line.
        """
        message, requests = self._messages.popitem(last=False)
        request = requests.popleft()
        if requests:
            self._messages[message] = requests
        return request

    def remove(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Take out the requests for which this is true."""
        removed: list[T] = []
        for message, requests in list(self._messages.items()):
            gone = [request for request in requests if unwanted(request)]
            if gone:
                removed += gone
                kept = deque(request for request in requests if not unwanted(request))
                if kept:
                    self._messages[message] = kept
                else:
                    del self._messages[message]
        return removed
