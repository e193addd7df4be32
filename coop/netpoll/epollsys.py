"""epoll(7) through ctypes, for what the standard library leaves out.

`select.epoll` can neither carry 64 bits of the caller's own with each event, nor
wait for less than a millisecond, nor look without giving up the GIL.  The last
matters beside a busy Python thread: whoever gives up the GIL gets it back up to
five milliseconds later.

Arguments are ctypes objects made once, because to convert a declared argument
takes ctypes as long as the whole system call takes.  No errno is asked for on
the hot path: a call that fails is followed by a look that asks for it, and after
EINTR that look simply succeeds.
"""

import ctypes
import errno
import os
import struct
from array import array
from collections.abc import Callable
from functools import partial

from coop.clock import SECOND_NS
from coop.errors import BugError

ET = 1 << 31

BATCH = 128
"""How many events one call returns; the kernel keeps the rest for the next one."""

MAX_MS = 1_000_000_000
"""The longest wait in milliseconds; the scheduler asks again after it."""

_CLOEXEC = 0x80000
_ADD = 1
_DEL = 2
_SYS_EPOLL_PWAIT2 = 441
_MILLISECOND_NS = 1_000_000

EVENT = struct.Struct("<IQ" if os.uname().machine == "x86_64" else "<I4xQ")
"""The kernel's epoll_event: packed on x86-64, naturally aligned elsewhere."""

_held = ctypes.PyDLL(None)
_released = ctypes.CDLL(None)
_telling = ctypes.CDLL(None, use_errno=True)
_control = ctypes.PyDLL(None, use_errno=True)["epoll_ctl"]  # which never waits


def to_ms(delay_ns: int) -> int:
    """Round a delay up to whole milliseconds, at most `MAX_MS`; negative stays "for ever"."""
    if delay_ns < 0:
        return -1
    return min(-(-delay_ns // _MILLISECOND_NS), MAX_MS)


def has_pwait2() -> bool:
    """Find out whether this kernel knows epoll_pwait2(2), which waits in nanoseconds.

    A kernel that does not says ENOSYS, some sandboxes say EPERM; one that does
    objects to the bad descriptor.  Nothing else may be wrong: Linux 6.12 and older
    look at the descriptor last.
    """
    call = _telling["syscall"]
    call.restype = ctypes.c_long
    room = ctypes.create_string_buffer(EVENT.size)
    call(ctypes.c_long(_SYS_EPOLL_PWAIT2), -1, room, 1, None, None, ctypes.c_size_t(8))
    return ctypes.get_errno() == errno.EBADF


HAS_PWAIT2 = has_pwait2()


class Epoll:
    """One epoll instance and the room for one batch of its events.

    fd     -- the kernel's number
    look   -- () -> count of events found now, or -1; keeps the GIL
    buffer -- holds the events of the last call, `EVENT` after `EVENT`
    """

    def __init__(self, *, nanoseconds: bool | None = None) -> None:
        self.fd = self._checked(_telling["epoll_create1"](_CLOEXEC), "make an epoll descriptor")
        self.buffer = bytearray(EVENT.size * BATCH)
        self._pinned = (ctypes.c_char * len(self.buffer)).from_buffer(self.buffer)
        # An array is written to in a fifth of the time that a ctypes structure takes.
        self._time = array("q", [0, 0])
        self._epfd = epfd = ctypes.c_int(self.fd)
        events, batch = ctypes.byref(self._pinned), ctypes.c_int(BATCH)
        self.look: Callable[[], int] = partial(_held["epoll_wait"], epfd, events, batch, ctypes.c_int(0))
        self._wait_ms = partial(_released["epoll_wait"], epfd, events, batch)
        self._told = partial(_telling["epoll_wait"], epfd, events, batch, ctypes.c_int(0))
        call = _released["syscall"]
        call.restype = ctypes.c_long
        pwait2 = partial(call, ctypes.c_long(_SYS_EPOLL_PWAIT2), epfd, events, batch)
        size = ctypes.c_size_t(8)
        self._wait_ns: Callable[[], int] = partial(
            pwait2, ctypes.c_void_p(self._time.buffer_info()[0]), None, size
        )
        self._wait_ever: Callable[[], int] = partial(self._wait_ms, ctypes.c_int(-1))
        if not (HAS_PWAIT2 if nanoseconds is None else nanoseconds):
            self.wait = self._wait_rounded  # type: ignore[method-assign]

    def wait(self, delay_ns: int) -> int:
        """Wait for events, negative for ever; return how many, or -1.  Other threads run meanwhile."""
        if delay_ns < 0:
            return self._wait_ever()
        time = self._time
        time[0], time[1] = delay_ns // SECOND_NS, delay_ns % SECOND_NS
        return self._wait_ns()

    def _wait_rounded(self, delay_ns: int) -> int:
        return int(self._wait_ms(ctypes.c_int(to_ms(delay_ns))))

    def explain(self) -> int:
        """Look again after a -1 and return the count found: a signal had ended the call.

        Raises: BugError with the errno of anything else.
        """
        found = self._told()
        if found < 0:
            number = ctypes.get_errno()
            raise BugError(f"wait for epoll {self.fd}: {os.strerror(number)}")
        return int(found)

    def add(self, fd: int, events: int, data: int) -> None:
        """Register `fd`; its events will carry `data`, 64 bits.

        Raises: OSError.
        """
        entry = EVENT.pack(events, data)
        self._checked(_control(self.fd, _ADD, fd, entry), f"watch fd {fd}")

    def remove(self, fd: int) -> None:
        """Take the registration of `fd` back.

        Raises: OSError.
        """
        self._checked(_control(self.fd, _DEL, fd, None), f"stop watching fd {fd}")

    def close(self) -> None:
        """Close the epoll descriptor; twice changes nothing."""
        fd, self.fd = self.fd, -1
        # The prepared calls share this object: they must not reach another file behind the number.
        self._epfd.value = -1
        if fd >= 0:
            os.close(fd)

    @staticmethod
    def _checked(result: int, attempt: str) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{attempt}: {os.strerror(number)}")
        return result
