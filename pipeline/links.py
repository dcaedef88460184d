"""Links between processes: bounded, and without anything that two processes share.

``multiprocessing.Queue`` shares a lock among its readers; a reader killed in ``get()`` keeps it for
ever (cpython#85880, #87971). A link here is a socket pair instead. In each of its two directions
one process writes and one reads, frames of msgpack, and either sees the other's death as EOF.

- A :class:`DataLink` joins two stages. Its writer waits when the reader is slow: back-pressure.
- A :class:`ControlLink` joins the supervisor and one process. It carries file descriptors too, and
  so hands a running process its end of a new data link.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

import msgspec

from pipeline.logs import log
from pipeline.messages import AnyLink
from pipeline.undecodable import UNDECODABLE

# Largest frame taken: the largest row, and room for the rest of its frame.
MAX_FRAME_BYTES = 96 * 1024 * 1024
# Asked of the kernel for each end; it may give less.
SOCKET_BUFFER_BYTES = 1024 * 1024
# Taken out of the socket in one read, if no frame is longer.
READ_BYTES = 256 * 1024
# A buffer that had to be longer than this for a frame is given back after it.
KEPT_BYTES = 2 * 1024 * 1024
# A read of so much has found a writer that is ahead of its reader.
LAG_BYTES = 64 * 1024
# A control link whose peer does not read for so long that this much waits is broken.
CONTROL_BUFFER_FRAMES = 10_000
# Descriptors in one control frame.
MAX_DESCRIPTORS = 4

_LENGTH = struct.Struct("<I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[AnyLink]).decode


class LinkClosed(ConnectionError):
    """The other end is gone. What was written and not read is lost with it."""


def frame(messages: Sequence[AnyLink]) -> bytes:
    """One frame: a length of 4 bytes, then the messages as a msgpack list.

    Raises:
        ValueError: the frame would be larger than :data:`MAX_FRAME_BYTES`.
    """
    payload = _encode(messages)
    if len(payload) > MAX_FRAME_BYTES:
        raise ValueError(f"frame of {len(payload)} bytes; at most {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(payload)) + payload


class DataLink:
    """One process's end of a link to another stage.

    Reading goes on when writing fails: what a process wrote before it died is read to its end.

    Args:
        sock: an AF_UNIX stream socket, owned from now on.

    Attributes:
        lags: what was received last was so much that more is likely to wait.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._writing = asyncio.Lock()
        # Tasks that hold ``_writing`` or wait for it.
        self._writers = 0
        # What was read and not yet given out stands in it from ``_begin`` to ``_end``.
        self._buffer = bytearray(READ_BYTES)
        self._begin = self._end = 0
        self._operations = 0
        self._broken = False
        self._closed = False
        self.lags = False

    @classmethod
    def open(cls, descriptor: int) -> DataLink:
        """Take over a socket's descriptor."""
        return cls(socket.socket(fileno=descriptor))

    @property
    def sock(self) -> socket.socket:
        """For asking the kernel how full it is."""
        return self._sock

    async def send(self, *messages: AnyLink) -> None:
        """Write messages as one frame, and wait until the kernel has all of it.

        Nothing stays behind in this process: the reader gets it even if this process dies then.

        Raises:
            LinkClosed: the reader is gone.
        """
        await self.send_frames((frame(messages),))

    async def send_frames(self, frames: Iterable[bytes]) -> None:
        """Write frames made by :func:`frame`, in order and with no other writer's between them.

        Raises:
            LinkClosed: the reader is gone; any number of the frames may have been read.
        """
        left = iter(frames)
        # While nobody else writes, what the kernel takes at once needs no lock and no wait.
        rest = self._write_at_once(left) if not self._writers else memoryview(b"")
        if rest is None:
            return
        self._writers += 1
        try:
            # This does not wait if a part of a frame is out: its rest comes next.
            async with self._writing:
                if rest:
                    await self._write(rest)
                for data in left:
                    if rest := self._start(data):
                        await self._write(rest)
        finally:
            self._writers -= 1

    def _write_at_once(self, frames: Iterator[bytes]) -> memoryview | None:
        """Write what the kernel takes now; return the rest of the frame that it did not, or None.

        Raises:
            LinkClosed: the reader is gone.
        """
        for data in frames:
            if rest := self._start(data):
                return rest
        return None

    def _start(self, data: bytes) -> memoryview:
        """Write as much of a frame as the kernel takes now; return the rest.

        Raises:
            LinkClosed: the reader is gone.
        """
        if self._broken:
            raise LinkClosed
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._break()
            raise LinkClosed from error
        return memoryview(data)[sent:]

    async def _write(self, data: memoryview) -> None:
        if self._broken:
            raise LinkClosed
        self._operations += 1
        try:
            await self._loop.sock_sendall(self._sock, data)
        except BaseException as error:
            self._break()
            if isinstance(error, OSError):
                raise LinkClosed from error
            raise
        finally:
            self._operation_ended()

    def _break(self) -> None:
        # A part of the frame may be out: what follows would be read as its rest.
        self._broken = True
        _shut_down(self._sock, socket.SHUT_WR)

    async def receive(self) -> list[AnyLink] | None:
        """The messages of all frames that are here, waiting for the first.

        Returns:
            None once the writer is gone and all it wrote is read.
        """
        if self._closed:
            return None
        self._operations += 1
        self.lags = False
        try:
            while not (messages := self._whole_frames()):
                room = memoryview(self._buffer)[self._end :]
                count = await self._loop.sock_recv_into(self._sock, room)
                if not count:
                    return None
                self._end += count
                self.lags = self.lags or count >= LAG_BYTES
        except OSError:
            return None
        finally:
            self._operation_ended()
        return messages

    def close(self) -> None:
        """Close this end; the other reads EOF after what was written."""
        if self._closed:
            return
        self._closed = self._broken = True
        # Wakes whoever waits here; the last of them closes the descriptor, which must not be
        # another file's by the time that the loop forgets it.
        _shut_down(self._sock, socket.SHUT_RDWR)
        self._close_if_unused()

    def _whole_frames(self) -> list[AnyLink]:
        """Take the messages of the frames that are in the buffer; if there are none, make room."""
        messages: list[AnyLink] = []
        while (size := self._next_size()) <= self._end - self._begin:
            start, end = self._begin + _LENGTH.size, self._begin + size
            try:
                found = _decode(memoryview(self._buffer)[start:end])
            except UNDECODABLE:
                if messages:  # they are good, and go first
                    break
                raise
            self._begin = end
            messages = messages + found if messages else found
        if not messages:
            self._make_room(size)
        return messages

    def _next_size(self) -> int:
        """Bytes of the next frame; of its length, while that is all that is known to come."""
        if self._end - self._begin < _LENGTH.size:
            return _LENGTH.size
        length: int = _LENGTH.unpack_from(self._buffer, self._begin)[0]
        if length > MAX_FRAME_BYTES:
            raise ValueError(f"frame of {length} bytes; at most {MAX_FRAME_BYTES}")
        return _LENGTH.size + length

    def _make_room(self, size: int) -> None:
        """Have what is left at the beginning of a buffer that takes a frame of this size."""
        usual = READ_BYTES if len(self._buffer) > KEPT_BYTES else len(self._buffer)
        wanted = max(size, usual)
        if not self._begin and len(self._buffer) == wanted:
            return
        left = self._buffer[self._begin : self._end]
        if len(self._buffer) != wanted:
            self._buffer = bytearray(wanted)
        self._buffer[: len(left)] = left
        self._begin, self._end = 0, len(left)

    def _operation_ended(self) -> None:
        self._operations -= 1
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._closed and not self._operations and self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()


class ControlLink:
    """One end of the link between the supervisor and a process. Never blocks its process.

    Args:
        sock: an AF_UNIX stream socket, owned from now on.
        on_message: called for each message with the descriptors that came with it.
        on_closed: called once when the other end is gone.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_message: Callable[[AnyLink, list[int]], None],
        on_closed: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._on_message = on_message
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._descriptors: deque[int] = deque()
        self._outgoing: deque[tuple[bytes, list[int]]] = deque()
        self._closed = False
        self._loop.add_reader(sock.fileno(), self._readable)

    def send(self, message: AnyLink, descriptors: Sequence[int] = ()) -> None:
        """Queue a message; copies of the descriptors travel with it, the caller keeps its own."""
        if self._closed:
            return
        if len(self._outgoing) >= CONTROL_BUFFER_FRAMES:
            self._close()
            return
        # Copied now, because the caller may close its own before the socket takes the frame.
        self._outgoing.append((frame([message]), [os.dup(fd) for fd in descriptors]))
        if len(self._outgoing) == 1:
            self._flush()

    def close(self) -> None:
        """Close this end without calling ``on_closed``."""
        self._on_closed = _nothing
        self._close()

    def read_rest(self) -> None:
        """Read now what the other end wrote before it died."""
        if not self._closed:
            self._readable()

    def _flush(self) -> None:
        while self._outgoing:
            data, descriptors = self._outgoing[0]
            try:
                if descriptors:
                    sent = socket.send_fds(self._sock, [data], descriptors)
                else:
                    sent = self._sock.send(data)
            except BlockingIOError:
                self._loop.add_writer(self._sock.fileno(), self._flush)
                return
            except OSError:
                self._close()
                return
            _close_all(descriptors)
            if sent < len(data):
                self._outgoing[0] = (data[sent:], [])
            else:
                self._outgoing.popleft()
        self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        try:
            # recv() would drop descriptors silently, so every read is ready for some.
            data, descriptors, _, _ = socket.recv_fds(self._sock, READ_BYTES, MAX_DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            self._close()
            return
        for descriptor in descriptors:
            # A program that a stage starts, e.g. `az`, must not hold a link open.
            os.set_inheritable(descriptor, False)
            self._descriptors.append(descriptor)
        if not data:
            self._close()
            return
        self._received += data
        while not self._closed and (messages := self._next_frame()) is not None:
            for message in messages:
                count = getattr(message, "descriptors", 0)
                self._on_message(message, [self._descriptors.popleft() for _ in range(count)])

    def _next_frame(self) -> list[AnyLink] | None:
        if len(self._received) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._received)
        end = _LENGTH.size + length
        if len(self._received) < end:
            return None
        data = bytes(self._received[_LENGTH.size : end])
        del self._received[:end]
        try:
            return _decode(data)
        except UNDECODABLE as error:
            # A bug at the other end, which must not be met again with each frame that follows.
            log.bind(action="bad_frame").error("a control frame cannot be read: {}", error)
            self._close()
            return None

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        _close_all(self._descriptors)
        for _, descriptors in self._outgoing:
            _close_all(descriptors)
        self._outgoing.clear()
        self._on_closed()


def _shut_down(sock: socket.socket, how: int) -> None:
    with suppress(OSError):  # the other end is gone already
        sock.shutdown(how)


def _close_all(descriptors: Sequence[int] | deque[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _nothing() -> None:
    return
