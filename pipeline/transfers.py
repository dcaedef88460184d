"""libcurl's transfers, driven by a process's event loop: any number under way, and no thread.

libcurl says which sockets it waits for and when it wants to be called again, and here it is. Its
sockets stand in an epoll of their own, which the loop watches as one descriptor: that is two system
calls for a transfer, where the loop's own readers would also cost objects of Python.
https://curl.se/libcurl/c/libcurl-multi.html
"""

from __future__ import annotations

import asyncio
import select
import time
from typing import Protocol

import pycurl

# How often transfers are looked at for silence: a time-out may be late by so much.
TICK_S = 0.25
# Sockets taken from the kernel at once.
MAX_EVENTS = 256
# With fewer under way than this, nobody waits for company.
PACED_FROM = 8

_WATCHED = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}
_ENDED = select.EPOLLHUP | select.EPOLLERR


class Transfer(Protocol):
    """A handle of libcurl, set up, and who waits for it."""

    @property
    def curl(self) -> pycurl.Curl:
        """The easy handle."""
        ...

    def ended(self, code: int, problem: str) -> None:
        """libcurl is done with it.

        Args:
            code: libcurl's; 0 if it went well.
            problem: libcurl's text, if it did not.
        """
        ...

    def is_overdue(self, now_s: float) -> bool:
        """Whether it is to be given up."""
        ...

    def given_up(self) -> None:
        """It was overdue, and is no longer under way."""
        ...


class Transfers:
    """The transfers of a process.

    Args:
        connections: kept open between transfers.
        pause_s: after something has come, so many seconds pass before more is looked for, while
            many are under way and none of them is urgent. A process that wakes for each answer
            spends more on waking than on the answer.
    """

    def __init__(self, connections: int, pause_s: float = 0.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[pycurl.Curl, Transfer] = {}
        self._epoll = select.epoll()
        self._watched: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.Handle | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._pause_s = pause_s
        self._paused: asyncio.TimerHandle | None = None
        self._closed = False
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        self._loop.add_reader(self._epoll.fileno(), self._readable)

    def __len__(self) -> int:
        return len(self._under_way)

    def add(self, transfer: Transfer) -> None:
        """Begin a transfer; it ends in a later turn of the loop.

        Raises:
            pycurl.error: libcurl does not take it.
        """
        self._multi.add_handle(transfer.curl)
        self._under_way[transfer.curl] = transfer
        if self._tick is None:
            self._tick = self._loop.call_later(TICK_S, self._look_for_silence)

    def take_out(self, transfer: Transfer) -> None:
        """Break one off, without a word to it; its connection is closed, not kept."""
        if self._under_way.pop(transfer.curl, None) is not None:
            self._multi.remove_handle(transfer.curl)

    def close(self) -> None:
        """Break off what is under way, without a word to anybody, and close the connections."""
        if self._closed:
            return
        self._closed = True
        for handle in (self._timer, self._soon, self._tick, self._paused):
            if handle is not None:
                handle.cancel()
        for curl in self._under_way:
            self._multi.remove_handle(curl)
        self._under_way.clear()
        self._multi.close()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    # ── what libcurl asks for ────────────────────────────────────────────────────────────────

    def _watch(self, what: int, descriptor: int, _multi: object, _data: object) -> None:
        wanted = _WATCHED.get(what)
        if wanted is None:
            if descriptor in self._watched:
                self._watched.discard(descriptor)
                self._epoll.unregister(descriptor)
        elif descriptor in self._watched:
            self._epoll.modify(descriptor, wanted)
        else:
            self._watched.add(descriptor)
            self._epoll.register(descriptor, wanted)

    def _set_timer(self, after_ms: int) -> None:
        if after_ms == 0:
            if self._soon is None:
                self._soon = self._loop.call_soon(self._at_once)
            return
        timer = self._timer
        if after_ms < 0:
            if timer is not None:
                timer.cancel()
                self._timer = None
            return
        due_s = self._loop.time() + after_ms / 1000.0
        if timer is not None:
            # One that fires too early is left alone: it is set anew then, and that is seldom.
            if timer.when() <= due_s:
                return
            timer.cancel()
        self._timer = self._loop.call_at(due_s, self._in_time)

    # ── when the loop calls ──────────────────────────────────────────────────────────────────

    def _at_once(self) -> None:
        self._soon = None
        self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._tell()

    def _in_time(self) -> None:
        self._timer = None
        self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._tell()
        # By libcurl's clock it may have been too early, and then it does not ask again by itself.
        if not self._closed and self._timer is None and (left_ms := self._multi.timeout()) >= 0:
            self._set_timer(max(1, left_ms))

    def _readable(self) -> None:
        for descriptor, events in self._epoll.poll(0, MAX_EVENTS):
            mask = 0
            if events & select.EPOLLIN:
                mask |= pycurl.CSELECT_IN
            if events & select.EPOLLOUT:
                mask |= pycurl.CSELECT_OUT
            if events & _ENDED:
                mask |= pycurl.CSELECT_ERR
            self._multi.socket_action(descriptor, mask)
        self._tell()
        if self._pause_s and len(self._under_way) >= PACED_FROM and not self._closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._paused = self._loop.call_later(self._pause_s, self._look_again)

    def _look_again(self) -> None:
        self._paused = None
        self._loop.add_reader(self._epoll.fileno(), self._readable)

    def _tell(self) -> None:
        """Tell those whose transfers have ended."""
        more = True
        while more and not self._closed:
            left, well, failed = self._multi.info_read()
            more = bool(left)
            # Whoever is told may end others that stand in these lists.
            for curl in well:
                if (transfer := self._taken_out(curl)) is not None:
                    transfer.ended(0, "")
            for curl, code, problem in failed:
                if (transfer := self._taken_out(curl)) is not None:
                    transfer.ended(code, problem)

    def _taken_out(self, curl: pycurl.Curl) -> Transfer | None:
        transfer = self._under_way.pop(curl, None)
        if transfer is not None:
            self._multi.remove_handle(curl)
        return transfer

    def _look_for_silence(self) -> None:
        now_s = time.monotonic()
        for transfer in [one for one in self._under_way.values() if one.is_overdue(now_s)]:
            # Its connection is closed with it: what is left of the answer is nobody's.
            self.take_out(transfer)
            transfer.given_up()
        self._tick = (
            self._loop.call_later(TICK_S, self._look_for_silence) if self._under_way else None
        )
