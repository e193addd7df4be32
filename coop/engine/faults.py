"""wasmtime's handlers of the signals by which it hears of a trap, and that they stay in place.

An access out of bounds, an `unreachable`, a division by zero: compiled wasm does each by an
instruction that faults, and wasmtime's handler makes a trap of it.  wasmtime puts its handlers in place
once, with the first engine of the process.  Whoever takes such a signal later stands before it: Python's
own handler returns and the instruction faults again, for ever; `faulthandler` ends the process.  So a
guest's trap would be the end of all others.

What was there before the first engine is no danger: wasmtime calls it for whatever is not its own.
"""

import ctypes as C
import os
import signal

from coop.logs import Log

log = Log("coop.engine")

FAULTS = (signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, signal.SIGBUS)

_SIGACTION = 256
"""Bytes that any `struct sigaction` fits into; it begins with the handler's address."""

_HANDLER = C.sizeof(C.c_void_p)

_sigaction = C.PyDLL(None, use_errno=True).sigaction
_sigaction.argtypes = (C.c_int, C.c_void_p, C.c_void_p)

_ours: dict[int, C.Array[C.c_char]] = {}
_first: tuple[int, bytes] = (0, b"")
_found = C.create_string_buffer(_SIGACTION)
_FOUND_AT = C.addressof(_found)


def remember_handlers() -> None:
    """Take what stands now for wasmtime's; called when the process has its first engine."""
    global _first
    if _ours:
        return
    for number in FAULTS:
        _ours[number] = _read(number)
    _first = FAULTS[0], _ours[FAULTS[0]].raw[:_HANDLER]


def restore_first_handler() -> None:
    """Restore all if another handler stands for the first; one look, for it comes before every guest."""
    number, handler = _first
    if _sigaction(number, None, _FOUND_AT) == 0 and _found.raw[:_HANDLER] != handler:
        restore_handlers()


def restore_handlers() -> None:
    """Put wasmtime's handlers back where somebody has taken their place since, and say so."""
    for number, ours in _ours.items():
        if _read(number).raw[:_HANDLER] == ours.raw[:_HANDLER]:
            continue
        if _sigaction(number, ours, None) != 0:
            raise OSError(C.get_errno(), os.strerror(C.get_errno()), f"handler of signal {number}")
        log.warning("a handler replaced wasmtime's, which is put back", signal=signal.Signals(number).name)


def _read(number: int) -> "C.Array[C.c_char]":
    found = C.create_string_buffer(_SIGACTION)
    if _sigaction(number, None, found) != 0:
        raise OSError(C.get_errno(), os.strerror(C.get_errno()), f"handler of signal {number}")
    return found
