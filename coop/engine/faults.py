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
from coop.signals import FAULTS

log = Log("coop.engine")

_Sigaction = C.c_size_t * 32
"""More than any `struct sigaction` takes; it begins with the handler's address."""

_sigaction = C.PyDLL(None, use_errno=True).sigaction
_sigaction.argtypes = (C.c_int, C.c_void_p, C.c_void_p)

_ours: dict[int, "C.Array[C.c_size_t]"] = {}
_first: tuple[int, int] = (0, 0)
_found = _Sigaction()
_FOUND_AT = C.addressof(_found)


def remember_handlers() -> None:
    """Find wasmtime's, when the process has its first engine; what else stands there is none of ours."""
    global _first
    if not _ours:
        found = {number: _read(number) for number in FAULTS}
        # One function for all that it wants.  Which those are depends on the machine: a division by zero is
        # a signal on x86-64 and none on aarch64.
        theirs = found[FAULTS[0]][0]
        _ours.update((number, action) for number, action in found.items() if action[0] == theirs)
        _first = FAULTS[0], theirs


def restore_first_handler() -> None:
    """Restore all if another handler stands for the first; one look, for it comes before every guest."""
    number, handler = _first
    if _sigaction(number, None, _FOUND_AT) == 0 and _found[0] != handler:
        restore_handlers()


def restore_handlers() -> None:
    """Put wasmtime's handlers back where somebody has taken their place since, and say so."""
    for number, ours in _ours.items():
        if _read(number)[0] != ours[0]:
            _call(number, ours, None)
            log.warning(
                "a handler replaced wasmtime's, which is put back", signal=signal.Signals(number).name
            )


def _read(number: int) -> "C.Array[C.c_size_t]":
    found = _Sigaction()
    _call(number, None, found)
    return found


def _call(number: int, new: object, old: object) -> None:
    if _sigaction(number, new, old) != 0:
        raise OSError(C.get_errno(), os.strerror(C.get_errno()), f"handler of signal {number}")
