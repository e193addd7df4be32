"""From wasmtime's traps and errors to coop's."""

import ctypes as C
import re

from coop.engine.capi import ByteVec, FrameVec, held
from coop.engine.dense import NO_MEMORY, TOO_LARGE
from coop.engine.mangled import restored
from coop.engine.stacks import NO_STACK
from coop.errors import CoopError, GuestTrap, LimitExceeded, LinkError, printable

_EXPLAINED = (
    ("GC heap out of memory", "the exceptions that it keeps may take as much as the limit of memory"),
    ("thrown Wasm exception", "it threw an exception that nothing in it catches"),
)
"""wasmtime's words for how throwing ends a guest, and what they mean."""

_PREFIXES = ("wasm trap: ", "error while executing at wasm backtrace:")
_NUMBERED = re.compile(r"^\d+: ")

_REFUSED = (
    ("exceeds memory limits", "memory"),
    (TOO_LARGE, "memory"),
    (NO_MEMORY, "guests"),
    ("mmap failed", "guests"),
    ("exceeds table limits", "table_elements"),
    ("table count too high", "table_elements"),
)
"""wasmtime's words for what is larger than a limit allows, and the limit."""


def take_trap(trap: int, reason: BaseException | None = None) -> GuestTrap:
    """Turn the trap at an address into an error with its wasm frames, and give the trap back.

    reason -- what a host function raised, if that is why; then the text of ours does not matter, and the
              frames only to an error that shows them
    """
    text = ""
    names: tuple[str, ...] = ()
    if reason is None:
        message = ByteVec()
        held.wasm_trap_message(trap, C.byref(message))
        text = _reason(message.take())
    if reason is None or isinstance(reason, GuestTrap):
        frames = FrameVec()
        held.wasm_trap_trace(trap, C.byref(frames))
        names = _take_frames(frames)
    held.wasm_trap_delete(trap)
    return GuestTrap(text, names)


def take_error(error: int) -> CoopError:
    """Turn the wasmtime error at an address into ours and give it back; one with frames is a `GuestTrap`."""
    message, frames = ByteVec(), FrameVec()
    held.wasmtime_error_message(error, C.byref(message))
    held.wasmtime_error_wasm_trace(error, C.byref(frames))
    names = _take_frames(frames)
    held.wasmtime_error_delete(error)
    text = message.take()
    return GuestTrap(_reason(text), names) if names else CoopError(_words(text))


def why_not_instantiated(name: str, text: str) -> CoopError:
    """Return the error for what wasmtime says of an instance of `name` that it does not make."""
    for words, limit in _REFUSED:
        if words in text:
            return LimitExceeded(limit, f"{name}: {text}")
    return LinkError(f"{name}: {text}")


def refused_stack(name: str, error: CoopError) -> CoopError:
    """Return the error of a call of `name`, which may be that there was no stack for it.

    A guest takes its stack when its first function is called, which may be long after its start.
    """
    return LimitExceeded("guests", f"{name}: {error}") if NO_STACK in str(error) else error


def new_trap(message: str) -> int:
    """Make a trap to be returned to wasmtime, which will own it."""
    data = message.encode()
    return int(held.wasmtime_trap_new(data, len(data)))


def _words(message: bytes) -> str:
    return " ".join(message.decode(errors="replace").rstrip("\0").split())


def _reason(message: bytes) -> str:
    """Return the reason in wasmtime's report, with what it means where that is not plain."""
    reason = printable(_picked(message))  # a function's name may stand in it
    return next((f"{reason} ({meaning})" for words, meaning in _EXPLAINED if words in reason), reason)


def _picked(message: bytes) -> str:
    """Pick the reason from the report: it stands behind the backtrace, in which names may look like one."""
    lines = [line.strip() for line in message.decode(errors="replace").rstrip("\0").splitlines()]
    for line in reversed(lines):
        if "wasm trap: " in line:
            return line.partition("wasm trap: ")[2]
    plain = [line for line in lines if line and not line.startswith(_PREFIXES)]
    if "Caused by:" in lines:
        return _NUMBERED.sub("", plain[-1])  # what stands last is behind all that stands before
    return plain[0] if plain else "trap"


def _take_frames(vec: FrameVec) -> tuple[str, ...]:
    names = []
    for i in range(vec.size):
        frame = vec.data[i]
        name = held.wasmtime_frame_func_name(frame)
        if name:
            raw = C.cast(name, C.POINTER(ByteVec)).contents
            names.append(restored(C.string_at(raw.data, raw.size).decode(errors="replace")))
        else:
            names.append(f"function {held.wasm_frame_func_index(frame)}")
    held.wasm_frame_vec_delete(C.byref(vec))
    return tuple(names)
