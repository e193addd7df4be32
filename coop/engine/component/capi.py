"""wasmtime's C API for components, as far as coop uses it; see `coop.engine.capi`.

A value crosses the border as a `wasmtime_component_val_t`: 32 bytes, of which the first
tells the kind and the last 24 hold the value, or where it is.
"""

import ctypes as C
from typing import Any

from wasmtime import _bindings

from coop.engine.capi import WASMTIME_VERSION, Continuation, held_library, released_library
from coop.errors import Unsupported

__all__ = ["AsyncCallback", "Callback", "Destructor", "Function", "Handle", "held", "released"]

_A = C.c_void_p
_SIZE = C.c_size_t
_STR = C.c_char_p

_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    # name: (result, arguments)
    "wasmtime_component_new": (_A, [_A, _A, _SIZE, _A]),
    "wasmtime_component_deserialize": (_A, [_A, _A, _SIZE, _A]),
    "wasmtime_component_get_export_index": (_A, [_A, _A, _STR, _SIZE]),
    "wasmtime_component_export_index_delete": (None, [_A]),
    "wasmtime_component_linker_new": (_A, [_A]),
    "wasmtime_component_linker_delete": (None, [_A]),
    "wasmtime_component_linker_root": (_A, [_A]),
    "wasmtime_component_linker_instance_add_instance": (_A, [_A, _STR, _SIZE, _A]),
    "wasmtime_component_linker_instance_add_func": (_A, [_A, _STR, _SIZE, _A, _A, _A]),
    "wasmtime_component_linker_instance_add_func_async": (_A, [_A, _STR, _SIZE, _A, _A, _A]),
    "wasmtime_component_linker_instance_add_resource": (_A, [_A, _STR, _SIZE, _A, _A, _A, _A]),
    "wasmtime_component_linker_instance_delete": (None, [_A]),
    "wasmtime_component_linker_instantiate_async": (_A, [_A, _A, _A, _A, _A]),
    "wasmtime_component_instance_get_func": (C.c_bool, [_A, _A, _A, _A]),
    "wasmtime_component_func_call_async": (_A, [_A, _A, _A, _SIZE, _A, _SIZE, _A]),
    "wasmtime_component_resource_type_new_host": (_A, [C.c_uint32]),
    "wasmtime_component_resource_type_delete": (None, [_A]),
    "wasmtime_component_resource_any_clone": (_A, [_A]),
    "wasmtime_component_resource_any_delete": (None, [_A]),
    "wasmtime_component_resource_any_to_host": (_A, [_A, _A, _A]),
    "wasmtime_component_resource_host_new": (_A, [C.c_bool, C.c_uint32, C.c_uint32]),
    "wasmtime_component_resource_host_rep": (C.c_uint32, [_A]),
    "wasmtime_component_resource_host_delete": (None, [_A]),
    "wasmtime_component_resource_host_to_any": (_A, [_A, _A, _A]),
    "wasmtime_component_vallist_new_uninit": (None, [_SIZE, _SIZE]),
    "wasmtime_component_valrecord_new_uninit": (None, [_SIZE, _SIZE]),
    "wasmtime_component_valtuple_new_uninit": (None, [_SIZE, _SIZE]),
    "wasmtime_component_valflags_new_uninit": (None, [_SIZE, _SIZE]),
    "wasmtime_component_val_new": (_SIZE, [_A]),
    "wasmtime_component_val_delete": (None, [_SIZE]),
    "wasm_byte_vec_new": (None, [_SIZE, _SIZE, _STR]),
    "wasmtime_error_new": (_SIZE, [_STR]),
}

held = held_library(_SIGNATURES)
released = released_library(_SIGNATURES)

VAL_SIZE, ENTRY_SIZE, NAME_SIZE = 32, 48, 16
"""Bytes of a value; of a record's field, whose name comes first; of a name."""

PAYLOAD = 8
"""Where what a value holds begins; the kind comes before it."""


class Handle(C.Structure):
    """wasmtime_component_instance_t."""

    _fields_ = (("store", C.c_uint64), ("index", C.c_uint32))


class Function(C.Structure):
    """wasmtime_component_func_t."""

    _fields_ = (("of", Handle), ("index", C.c_uint32), ("room", C.c_void_p))


_W = C.c_size_t

Callback = C.CFUNCTYPE(_W, _W, _W, _W, _W, _W, _W, _W)
"""cb(env, context, type, args, nargs, results, nresults) -> error or 0."""

AsyncCallback = C.CFUNCTYPE(None, _W, _W, _W, _W, _W, _W, _W, _W, _W)
"""cb(env, context, type, args, nargs, results, nresults, error_out, continuation_out)."""

Destructor = C.CFUNCTYPE(_W, _W, _W, C.c_uint32)
"""cb(env, context, the number of what is dropped) -> error or 0."""

for _size, _theirs in (
    (C.sizeof(Handle), "wasmtime_component_instance"),
    (C.sizeof(Continuation), "wasmtime_async_continuation_t"),
    (C.sizeof(Function), "wasmtime_component_func"),
    (VAL_SIZE, "wasmtime_component_val"),
    (ENTRY_SIZE, "wasmtime_component_valrecord_entry"),
):
    if _size != C.sizeof(vars(_bindings)[_theirs]):
        raise Unsupported(f"wasmtime {WASMTIME_VERSION}: {_theirs} has a size coop does not know")
