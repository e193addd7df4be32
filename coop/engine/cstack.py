"""Tell Python on which stack it runs.

How deep C calls may be nested, CPython finds out since 3.14 by the stack pointer; older ones count the
calls.  On a guest's fiber the pointer is on no stack that it knows.  Then it takes no call for too deep,
until one runs into the guard page and ends the process; and for the end of the stack, where it puts off
destroying what is not used any more.  So around each poll of a guest it is told where the guest's stack is,
and then where its own was.

A guest gets its stack while its first call is polled, and keeps it.  Whoever makes the stack tells Python
at once, since the guest is next to run, and notes for the one who polls where it is.
"""

import ctypes as C
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

IS_NEEDED = sys.version_info >= (3, 14)
"""Whether this Python looks at the stack pointer."""


class OnStack(Protocol):
    """What runs on a stack of its own.

    stack_base -- its lowest address, 0 as long as it has none
    """

    stack_base: int

    @property
    def stack_size(self) -> int:
        """Return how large it is, in bytes."""
        ...


_made: dict[int, int] = {}
"""Where the stack is that was made last, by the thread state that it was made in."""

if IS_NEEDED:
    _protect = C.pythonapi.PyUnstable_ThreadState_SetStackProtection
    _reset = C.pythonapi.PyUnstable_ThreadState_ResetStackProtection
    _protect.argtypes, _reset.argtypes, _reset.restype = (
        [C.c_void_p, C.c_void_p, C.c_size_t],
        [C.c_void_p],
        None,
    )
    _this_thread = C.pythonapi.PyThreadState_Get
    _this_thread.restype = C.c_void_p


def enter_new_stack(base: int, size: int) -> None:
    """Take notice of the stack on which the guest that is being polled is to begin."""
    if IS_NEEDED:
        thread = _this_thread()
        _made[thread] = base
        _protect(thread, base, size)


def on_its_stack(poll: Callable[[int], bool], guest: OnStack) -> Callable[[int], bool]:
    """Return a function that polls a future of the guest's as `poll` does, and tells Python of its stack."""
    return partial(_poll, poll, guest, _this_thread()) if IS_NEEDED else poll


def _poll(poll: Callable[[int], bool], guest: OnStack, thread: Any, future: int) -> bool:
    try:
        if guest.stack_base:
            _protect(thread, guest.stack_base, guest.stack_size)
        return poll(future)
    finally:
        _reset(thread)
        if not guest.stack_base:
            guest.stack_base = _made.pop(thread, 0)
