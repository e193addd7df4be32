"""wasmtime's C API, as far as coop uses it: addresses in, addresses out.

wasmtime-py ships the whole C API as ctypes declarations, but offers no public
way to its asynchronous half.  This module takes the same shared library and
declares the few dozen functions again with plain addresses as arguments: a
pointer object for every call costs more than the call.

Each function exists once per way of calling it:

- `held`     keeps the GIL (PyDLL).  Right for everything short, and for a guest
             that mostly calls back: taking the GIL again costs a callback 40 us
             when another Python thread is busy.
- `released` gives the GIL up (CDLL).  Right for compiling, and for a guest that
             computes.

1. Nothing outside this package touches wasmtime.
2. A symbol that is missing is found at import, and named.
"""

import ctypes as C
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from wasmtime import _bindings

from coop.errors import Unsupported

try:
    WASMTIME_VERSION = version("wasmtime")
except PackageNotFoundError:  # a frozen program, say; in the cache wasmtime knows its own modules from others
    WASMTIME_VERSION = "of unknown version"

Address = int

_A = C.c_void_p
_SIZE = C.c_size_t
_STR = C.c_char_p

_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    # name: (result, arguments)
    "wasmtime_store_new": (_A, [_A, _A, _A]),
    "wasmtime_store_delete": (None, [_A]),
    "wasmtime_store_context": (_A, [_A]),
    "wasmtime_store_limiter": (None, [_A] + [C.c_int64] * 5),
    # Of the second, a 64-bit number, 0 and 1 are wanted: what is not declared passes as an int, and at once.
    "wasmtime_context_set_epoch_deadline": (None, [_A]),
    # The shipped declaration claims a result that the function does not have.
    "wasmtime_context_epoch_deadline_async_yield_and_update": (None, [_A, C.c_uint64]),
    "wasmtime_engine_increment_epoch": (None, [_A]),
    "wasmtime_linker_new": (_A, [_A]),
    "wasmtime_linker_clone": (_A, [_A]),
    "wasmtime_linker_delete": (None, [_A]),
    "wasmtime_linker_define_func_unchecked": (_A, [_A, _STR, _SIZE, _STR, _SIZE, _A, _A, _A, _A]),
    "wasmtime_linker_define_async_func": (_A, [_A, _STR, _SIZE, _STR, _SIZE, _A, _A, _A, _A]),
    "wasmtime_linker_define_instance": (_A, [_A, _A, _STR, _SIZE, _A]),
    "wasmtime_linker_instantiate_pre": (_A, [_A, _A, _A]),
    "wasmtime_linker_instantiate_async": (_A, [_A, _A, _A, _A, _A, _A]),
    "wasmtime_instance_pre_instantiate_async": (_A, [_A, _A, _A, _A, _A]),
    "wasmtime_instance_pre_delete": (None, [_A]),
    "wasmtime_instance_export_get": (C.c_bool, [_A, _A, _STR, _SIZE, _A]),
    "wasmtime_func_call_async": (_A, [_A, _A, _A, _SIZE, _A, _SIZE, _A, _A]),
    "wasmtime_call_future_poll": (C.c_bool, [_A]),
    "wasmtime_call_future_delete": (None, [_A]),
    "wasmtime_memory_data": (_A, [_A, _A]),
    "wasmtime_memory_data_size": (_SIZE, [_A, _A]),
    "wasmtime_table_size": (C.c_uint64, [_A, _A]),
    "wasmtime_module_new": (_A, [_A, _A, _SIZE, _A]),
    "wasmtime_module_deserialize": (_A, [_A, _A, _SIZE, _A]),
    "wasmtime_trap_new": (_A, [_STR, _SIZE]),
    "wasm_trap_message": (None, [_A, _A]),
    "wasm_trap_trace": (None, [_A, _A]),
    "wasm_trap_delete": (None, [_A]),
    "wasmtime_error_new": (_A, [_STR]),
    "wasmtime_error_message": (None, [_A, _A]),
    "wasmtime_error_wasm_trace": (None, [_A, _A]),
    "wasmtime_error_delete": (None, [_A]),
    "wasmtime_frame_func_name": (_A, [_A]),
    "wasm_frame_func_index": (C.c_uint32, [_A]),
    "wasm_frame_vec_delete": (None, [_A]),
    "wasm_byte_vec_delete": (None, [_A]),
}


class Library:
    """Functions as attributes, all called in one way.

    signatures -- by name: the type of the result, and those of the arguments
    """

    def __init__(self, dll: C.CDLL, signatures: dict[str, tuple[Any, list[Any]]]) -> None:
        missing = []
        for name, (result, arguments) in signatures.items():
            try:
                function = dll[name]  # item access makes a function object of our own
            except AttributeError:
                missing.append(name)
                continue
            function.restype = result
            function.argtypes = arguments
            setattr(self, name, function)
        if missing:
            raise Unsupported(
                f"wasmtime {WASMTIME_VERSION} lacks {', '.join(missing)}: "
                "install a release that coop names in its dependencies (pip install 'wasmtime>=50.0.1,<51')"
            )

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no C function {name} is declared")


_dll: C.CDLL = vars(_bindings)["dll"]
_path = str(Path(_dll._name))
held = Library(C.PyDLL(_path), _SIGNATURES)
released = Library(C.CDLL(_path), _SIGNATURES)


def held_library(signatures: dict[str, tuple[Any, list[Any]]]) -> Library:
    """Declare more functions of wasmtime's, called with the GIL held."""
    return Library(C.PyDLL(_path), signatures)


def released_library(signatures: dict[str, tuple[Any, list[Any]]]) -> Library:
    """Declare more functions of wasmtime's, called without the GIL."""
    return Library(C.CDLL(_path), signatures)


def address_of_function(name: str) -> Address:
    """Return the address of a C function, to be stored where C will call it."""
    return C.cast(_dll[name], _A).value or 0


def address(pointer: Any) -> Address:
    """Return the address that a ctypes pointer or a wrapper's `ptr()` holds.

    The caller keeps the wrapper alive for as long as the address is used.
    """
    return C.cast(pointer, _A).value or 0


class ByteVec(C.Structure):
    """wasm_byte_vec_t: bytes that wasmtime owns until they are deleted."""

    _fields_ = (("size", C.c_size_t), ("data", C.c_void_p))

    def take(self) -> bytes:
        """Return a copy of the bytes and give them back to wasmtime."""
        data = C.string_at(self.data, self.size) if self.size else b""
        held.wasm_byte_vec_delete(C.byref(self))
        return data


class FrameVec(C.Structure):
    """wasm_frame_vec_t: the frames of a trap, innermost first."""

    _fields_ = (("size", C.c_size_t), ("data", C.POINTER(C.c_void_p)))


class Handle(C.Structure):
    """wasmtime_func_t and wasmtime_instance_t: a store's number and an index, 16 bytes."""

    _fields_ = (("store", C.c_uint64), ("index", C.c_uint64))


class MemoryHandle(C.Structure):
    """wasmtime_memory_t."""

    _fields_ = (("store", C.c_uint64), ("index", C.c_uint32), ("more", C.c_uint32), ("private", C.c_uint32))


class TableHandle(MemoryHandle):
    """wasmtime_table_t, which is laid out in the same way."""


class _ExternUnion(C.Union):
    _fields_ = (
        ("func", Handle),
        ("table", TableHandle),
        ("memory", MemoryHandle),
        ("room", C.c_uint8 * 24),
    )


class Extern(C.Structure):
    """wasmtime_extern_t: something exported, and its kind."""

    _fields_ = (("kind", C.c_uint8), ("of", _ExternUnion))


EXTERN_FUNC, EXTERN_TABLE, EXTERN_MEMORY = 0, 2, 3


class _ValUnion(C.Union):
    _fields_ = (
        ("i32", C.c_int32),
        ("i64", C.c_int64),
        ("f32", C.c_float),
        ("f64", C.c_double),
        ("room", C.c_uint8 * C.sizeof(_bindings.wasmtime_valunion)),
    )


class Val(C.Structure):
    """wasmtime_val_t: a value with its kind."""

    _fields_ = (("kind", C.c_uint8), ("of", _ValUnion))


class Continuation(C.Structure):
    """wasmtime_async_continuation_t: a function that says whether a pending host call may go on."""

    _fields_ = (("callback", C.c_void_p), ("env", C.c_void_p), ("finalizer", C.c_void_p))


UncheckedCallback = C.CFUNCTYPE(C.c_size_t, C.c_ubyte, C.c_ubyte, C.c_size_t)
"""cb(env, caller, args_and_results) -> trap or 0.  Every argument not read is time saved: both calling
conventions coop runs on let the callee leave the fourth, the count, unread, and of the first two, addresses
that nobody needs, it takes a byte each, which is an int that Python has already."""

AsyncCallback = C.CFUNCTYPE(
    None,
    C.c_size_t,
    C.c_size_t,
    C.c_size_t,
    C.c_size_t,
    C.c_size_t,
    C.c_size_t,
    C.c_size_t,
    C.c_size_t,
)
"""cb(env, caller, args, nargs, results, nresults, trap_out, continuation_out)."""

for _ours, _theirs in (
    (Extern, _bindings.wasmtime_extern),
    (Val, _bindings.wasmtime_val),
    (Continuation, _bindings.wasmtime_async_continuation_t),
    (Handle, _bindings.wasmtime_func),
    (MemoryHandle, _bindings.wasmtime_memory),
):
    if C.sizeof(_ours) != C.sizeof(_theirs):
        raise Unsupported(f"wasmtime {WASMTIME_VERSION}: {_theirs.__name__} has a size coop does not know")
