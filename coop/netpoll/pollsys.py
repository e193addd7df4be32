"""poll(2) with time-outs in nanoseconds: the wait under the pollers that ask about a list.

The standard library's `select.poll` counts in milliseconds, which makes every
short sleep late.  ppoll(2) is older than any kernel this runs on, so there is no
second way here.

A pollfd is eight bytes: number, events asked, events returned.  On the machines
coop supports, all little-endian, that is one 64-bit integer, and an array of
those is built and read faster than a list of structures.
"""

import ctypes
import errno
import os
from array import array
from collections.abc import Callable
from typing import Any

from coop.clock import SECOND_NS
from coop.netpoll.contract import FAILED, HANGUP, READ, STALE_SHIFT, WRITE

# epoll(7) has the same numbers for these.
IN = 0x1
PRI = 0x2
OUT = 0x4
ERR = 0x8
HUP = 0x10
NVAL = 0x20
RDHUP = 0x2000

ASK = {READ: IN | RDHUP, WRITE: OUT}
"""What is asked of the kernel for a mode."""

_TROUBLE = ERR | HUP | NVAL
"""What the kernel reports unasked."""


class _Timespec(ctypes.Structure):
    _fields_ = [("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long)]


def _function(library: ctypes.CDLL) -> Callable[[int, int, Any, Any], int]:
    function = library["ppoll"]
    function.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p]
    function.restype = ctypes.c_int
    return function


# Merely looking takes less time than giving up the GIL and getting it back; a wait must not hold it.
_look = _function(ctypes.PyDLL(None, use_errno=True))
_wait = _function(ctypes.CDLL(None, use_errno=True))


def poll_fds(asked: dict[int, int], delay_ns: int) -> dict[int, int]:
    """Wait for events on kernel descriptors, and return those that have any.

    asked    -- number -> events, as poll(2) has them; each number once, since the
                kernel refuses more entries than the process may have descriptors
    delay_ns -- negative for ever, zero only looks, positive at most so long

    Raises: InterruptedError when a signal ends a wait, never from a mere look;
    OSError for anything else.
    """
    fds = array("Q", [fd | events << 32 for fd, events in asked.items()])
    address, length = fds.buffer_info()
    if delay_ns == 0:
        found = _look(address, length, ctypes.byref(_Timespec(0, 0)), None)
        # A signal ends even a look that would not have waited; who only looks has nothing to go back to.
        while found < 0 and ctypes.get_errno() == errno.EINTR:
            found = _look(address, length, ctypes.byref(_Timespec(0, 0)), None)
    elif delay_ns < 0:
        found = _wait(address, length, None, None)
    else:
        found = _wait(address, length, ctypes.byref(_Timespec(*divmod(delay_ns, SECOND_NS))), None)
    if found == 0:
        return {}
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ppoll of {length} descriptors: {os.strerror(number)}")
    return {entry & 0xFFFF_FFFF: entry >> 48 for entry in fds if entry >> 48}


def is_hit(mode: int, revents: int) -> bool:
    """Whether what the kernel returned for a descriptor concerns `mode`."""
    return bool(revents & (ASK[mode] | _TROUBLE))


def noted(mode: int, revents: int) -> int:
    """Return the bits of HANGUP and FAILED that a wait in `mode` should remember.

    A half-closed peer concerns readers alone.  What is ready for the others is stale: a new writer of a
    FIFO takes a hangup back, and a call an error by telling of it.
    """
    hangup = HUP | RDHUP if mode == READ else HUP
    bits = (HANGUP if revents & hangup else 0) | (FAILED if revents & (ERR | NVAL) else 0)
    return bits | mode << STALE_SHIFT if revents & _TROUBLE else bits


def event_errno(revents: int) -> int:
    """Return the errno to report with an event, 0 for a clean one.

    An error condition beside others is left to the next read or write, which
    tells more; only one that comes alone is an error of the event itself.
    """
    if revents & NVAL:
        return errno.EBADF
    return errno.EIO if revents & (IN | OUT | ERR | HUP) == ERR else 0
