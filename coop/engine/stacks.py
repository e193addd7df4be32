"""Where the fibers of guests have their stacks, as wasmtime asks for it.

A fiber wants three functions: one makes a stack, one says where it is, one takes it
back.  wasmtime calls them while it begins a guest's first call and while it ends its
store, from calls of coop's that hold the GIL and from such that gave it up.

No exception leaves them: wasmtime would go on with a stack that is none.
"""

import ctypes as C
from struct import Struct
from typing import Any

from coop.engine.arena import Arena
from coop.engine.capi import held
from coop.engine.cstack import enter_new_stack
from coop.engine.marshal import space

NO_STACK = "no room for a guest's stack"
"""What wasmtime is told, and tells again."""

_NewStack = C.CFUNCTYPE(C.c_size_t, C.c_size_t, C.c_size_t, C.c_size_t, C.c_size_t)
_GetStack = C.CFUNCTYPE(C.c_size_t, C.c_size_t, C.c_size_t)
Finalizer = C.CFUNCTYPE(None, C.c_size_t)
_STACK, _SIZE = Struct("=QQQ"), Struct("=Q")


class Creator(C.Structure):
    """wasmtime_stack_creator_t, and wasmtime_memory_creator_t, which is laid out in the same way.

    keep -- the functions, which must live as long as the engine
    """

    _fields_ = (("env", C.c_void_p), ("new", C.c_void_p), ("finalizer", C.c_void_p))

    def __init__(self, new: Any, *others: Any) -> None:
        super().__init__(None, C.cast(new, C.c_void_p), None)
        self.keep = (new, *others)


def stack_creator(arena: Arena) -> Creator:
    """Return what makes wasmtime take the stacks of fibers from `arena`."""
    size, take = arena.size, arena.take
    store_size, store_stack = _SIZE.pack_into, _STACK.pack_into

    def get_stack(base: int, size_out: int) -> int:
        store_size(space, size_out, size)
        return base + size

    getter, finalizer = _GetStack(get_stack), Finalizer(giver(arena))
    at_getter, at_finalizer = function_address(getter), function_address(finalizer)

    def new_stack(_env: int, wanted: int, _zeroed: int, out: int) -> int:
        try:
            assert wanted == size
            base = take()
            store_stack(space, out, base, at_getter, at_finalizer)
            enter_new_stack(base, size)
        except BaseException as error:
            return new_error(f"{NO_STACK}: {error}")
        return 0

    return Creator(_NewStack(new_stack), getter, finalizer)


def giver(arena: Arena, sizes: dict[int, int] | None = None) -> Any:
    """Return a function that gives a slot back, for wasmtime to call.

    sizes -- how much of each slot may have been touched, if that is known; who is given back is taken out
    """
    give, known = arena.give, {} if sizes is None else sizes

    def finalize(base: int) -> None:
        try:
            give(base, known.pop(base, None))
        except BaseException:  # noqa: S110 - short of memory: a slot is lost, and nothing else
            pass

    return finalize


def function_address(function: Any) -> int:
    """Return where the C side of a ctypes callback is."""
    return C.cast(function, C.c_void_p).value or 0


def new_error(text: str) -> int:
    """Return an error of wasmtime's."""
    made: int = held.wasmtime_error_new(text.encode(errors="replace"))
    return made
