"""Timers of the C library whose shots call a function of C's, without Python.

The C library keeps one sleeping thread for all such timers of a process, from the first
one on, which starts another one for each shot.
"""

import ctypes as C

from coop.errors import Unsupported

CLOCK_MONOTONIC = 1
_SIGEV_THREAD = 2


class SigEvent(C.Structure):
    """`struct sigevent`: what a timer does, here always to call a function."""

    _fields_ = (
        ("value", C.c_void_p),
        ("signo", C.c_int),
        ("notify", C.c_int),
        ("function", C.c_void_p),
        ("attributes", C.c_void_p),
        ("room", C.c_uint8 * 32),
    )


class TimerSpec(C.Structure):
    """`struct itimerspec`: how soon a timer fires first, and how often then."""

    _fields_ = (
        ("interval_s", C.c_long),
        ("interval_ns", C.c_long),
        ("value_s", C.c_long),
        ("value_ns", C.c_long),
    )


def _libc() -> C.PyDLL:
    for name in (None, "librt.so.1"):
        try:
            library = C.PyDLL(name, use_errno=True)
            _ = library.timer_create
        except (OSError, AttributeError):
            continue
        library.timer_create.argtypes = [C.c_int, C.c_void_p, C.c_void_p]
        library.timer_settime.argtypes = [C.c_void_p, C.c_int, C.c_void_p, C.c_void_p]
        library.timer_delete.argtypes = [C.c_void_p]
        return library
    raise Unsupported("the C library has no timer_create, which pre-emption needs")


libc = _libc()
"""Its functions that do not wait; each is called with the GIL held."""

_STACK = 128 << 10
"""Of a thread that takes one shot: the usual 8 MiB may not be to be had, and a guest would run for ever."""

_attributes = C.create_string_buffer(256)
libc.pthread_attr_init(_attributes)
libc.pthread_attr_setstacksize(_attributes, C.c_size_t(_STACK))


def shot(function: int, argument: int) -> SigEvent:
    """Say what a timer does: call a function of C's with one argument."""
    return SigEvent(
        value=argument, notify=_SIGEV_THREAD, function=function, attributes=C.addressof(_attributes)
    )
