"""Where C writes for one guest: its traps and errors, and what it is known by.

All of it is one block and one Python object.  Tens of thousands of guests have one each, and
every object less is one that no collection walks.
"""

import ctypes as C

from coop.engine.capi import EXTERN_FUNC, EXTERN_MEMORY, Extern, Handle, MemoryHandle, held


class Cells(C.Structure):
    """One guest's block.

    trap, error -- what ended the call in progress, if it has ended so
    instance    -- the guest's instance
    function    -- the export that is being called
    memory      -- its memory
    """

    _fields_ = (
        ("trap", C.c_void_p),
        ("error", C.c_void_p),
        ("instance", Handle),
        ("function", Handle),
        ("memory", MemoryHandle),
    )


ERROR: int = Cells.error.offset
INSTANCE: int = Cells.instance.offset
FUNCTION: int = Cells.function.offset
MEMORY: int = Cells.memory.offset
_OF: int = Extern.of.offset

_copy = C.PyDLL(None)["memmove"]
"""As `ctypes.memmove`, which gives up the GIL for these sixteen bytes."""
_copy.argtypes = [C.c_void_p, C.c_void_p, C.c_size_t]


def find_export(context: int, cells: Cells, name: str) -> Extern | None:
    """Return the export `name` of the guest's instance, or None."""
    found, raw = Extern(), name.encode()
    instance = C.addressof(cells) + INSTANCE
    is_there = held.wasmtime_instance_export_get(context, instance, raw, len(raw), C.byref(found))
    return found if is_there else None


def take_function(context: int, cells: Cells, name: str) -> bool:
    """Put an exported function into its cell; False if there is no such."""
    return _take(context, cells, name, EXTERN_FUNC, FUNCTION, C.sizeof(Handle))


def take_memory(context: int, cells: Cells, name: str) -> bool:
    """Put an exported memory into its cell; False if there is no such."""
    return _take(context, cells, name, EXTERN_MEMORY, MEMORY, C.sizeof(MemoryHandle))


def _take(context: int, cells: Cells, name: str, kind: int, to: int, size: int) -> bool:
    found = find_export(context, cells, name)
    if found is None or found.kind != kind:
        return False
    _copy(C.addressof(cells) + to, C.addressof(found) + _OF, size)
    return True
