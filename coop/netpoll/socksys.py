"""What is done with sockets again and again, by calls that keep the GIL.

Python's own methods of a socket give the GIL up for as long as the kernel works, be it two
microseconds.  Beside another thread that computes, whoever gives it up gets it back five milliseconds
later, and a guest that answers a request would wait so twice.

None of these calls ever waits: what is received and sent is so with MSG_DONTWAIT, and a listener is
non-blocking.  So nothing holds the GIL but a copy.  What takes long to copy is left to the socket's methods,
and so is what may wait because somebody else has a say in it.
"""

import ctypes
import errno
import os
import socket
from operator import index
from typing import Any

__all__ = [
    "ARGUMENTS",
    "MOST_COPIED",
    "MOST_HELD",
    "accept",
    "address_of",
    "close",
    "hang_up",
    "receive",
    "send",
    "shut_down",
    "was_interrupted",
]

MOST_HELD = 256 << 10
"""Bytes that one call should move at most: they take some 30 us."""

MOST_COPIED = 16 << 10
"""Bytes that are copied to be sent, where only a view is known; that takes a microsecond."""

_ACCEPTED = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class _AsItIs:
    """A number that fits into C's int, which needs no conversion."""

    from_param = staticmethod(index)


ARGUMENTS: Any = [_AsItIs, ctypes.c_void_p]
"""Of a descriptor and an address; length and flags, which are not declared, pass as ints at once."""

_held = ctypes.PyDLL(None, use_errno=True)
_accept, _close, _shutdown = _held["accept4"], _held["close"], _held["shutdown"]

_hang_up = ctypes.PyDLL(None)["shutdown"]
"""Without errno, which nobody asks for.  A signal's handler may close a connection whose peer is gone just
before somebody asks what another call has failed with, and a thread has one place where ctypes keeps it."""

receive = _held["recv"]
"""receive(fd, address, length, flags) -> bytes received at an address of this process, or -1."""
receive.argtypes = ARGUMENTS

send = _held["send"]
"""send(fd, where, length, flags) -> how many of the bytes at an address, or of bytes, were taken, or -1."""
send.argtypes = ARGUMENTS


def accept(listener: int) -> int:
    """Accept a connection, non-blocking and closed on exec; return its descriptor, or -1 if none waits.

    Raises: OSError.
    """
    number = int(_accept(listener, None, None, _ACCEPTED))
    if number < 0 and was_interrupted():
        return accept(listener)
    return number


def shut_down(fd: int, how: int) -> None:
    """Shut down a direction of a connection, or both (socket.SHUT_...).  Raises: OSError."""
    if _shutdown(fd, how) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def hang_up(fd: int) -> None:
    """Shut down both directions of a connection, if there still is one."""
    _hang_up(fd, socket.SHUT_RDWR)


def close(fd: int) -> None:
    """Close a socket, whose number is free afterwards in any case.  Raises: OSError of earlier calls."""
    if _close(fd) < 0 and (number := ctypes.get_errno()) != errno.ECONNRESET:
        raise OSError(number, os.strerror(number))


def address_of(buffer: memoryview) -> int:
    """Return where the bytes of a writable buffer are, of which there is at least one, while it lives."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def was_interrupted() -> bool:
    """Say why the call just made returned -1: True if it is to be made again, False if it would have waited.

    Raises: OSError.
    """
    number = ctypes.get_errno()
    if number == errno.EAGAIN:  # on Linux EWOULDBLOCK too
        return False
    if number == errno.EINTR:
        return True
    raise OSError(number, os.strerror(number))
