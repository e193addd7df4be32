"""What is asked of one descriptor, by calls that keep the GIL.

Python's own ways to ask give the GIL up for the microsecond that the kernel thinks, and beside another
thread that computes it may be back five milliseconds later.  Neither call waits for anything.

To convert an address takes ctypes longer than the system call takes, so each is converted once: what
is written to and read from lies in cells that are used again.
"""

import ctypes
import termios
from array import array
from typing import Any

from coop.netpoll.pollsys import poll_fds

__all__ = ["look_at", "unread"]

_held = ctypes.PyDLL(None)
_poll, _ioctl = _held["poll"], _held["ioctl"]
_COUNT = ctypes.c_ulong(termios.FIONREAD)

_Cell = tuple["array[int]", Any]

_cells: list[_Cell] = []
"""A pollfd each, or a number in its first half, and its address.  Who asks takes one: several threads may."""


def _take() -> _Cell:
    try:
        return _cells.pop()
    except IndexError:
        cell = array("i", [0, 0])
        return cell, ctypes.c_void_p(cell.buffer_info()[0])


def look_at(fd: int, events: int) -> int:
    """Return which of `events`, as poll(2) has them, a descriptor has now, and what troubles it.

    Raises: OSError.
    """
    taken = cell, address = _take()
    cell[0], cell[1] = fd, events
    found = _poll(address, 1, 0)
    told = cell[1] >> 16
    _cells.append(taken)
    # A signal may end even a look; the longer way says what else it was.
    return told if found >= 0 else poll_fds({fd: events}, 0).get(fd, 0)


def unread(fd: int) -> int:
    """Count the bytes that a socket or a pipe has for its reader; 1, for "some", where it cannot say."""
    taken = cell, address = _take()
    cell[0] = 0
    is_told = _ioctl(fd, _COUNT, address) == 0
    count = cell[0]
    _cells.append(taken)
    return count if is_told else 1
