"""How full a link is, as the kernel has it."""

from __future__ import annotations

import fcntl
import socket
import struct
from termios import TIOCOUTQ


def fill_ratio(sock: socket.socket) -> float:
    """What was written into a socket and not yet read, as a part of what it takes.

    Args:
        sock: an AF_UNIX stream socket.

    Returns:
        From 0 to 1; 0 for one that is closed. The kernel counts its own memory for each frame too:
        unix(7), SIOCOUTQ; socket(7), SO_SNDBUF.
    """
    try:
        (queued,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), TIOCOUTQ, b"\0\0\0\0"))
        room = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    except (OSError, ValueError):  # closed, or a system that does not tell
        return 0.0
    return min(1.0, float(queued / room)) if room else 0.0
