"""The memories of dense guests: slots of an arena, so that a process holds very many.

A memory that wasmtime maps reserves 4 GiB, so that no access needs a check of its bounds;
that costs two memory maps and two pages of page tables, and the address space ends at
32000 of them.  A dense guest's memory is a slot of `DENSE_MEMORY` bytes instead, and it
pays with its speed.

1. All of a slot can be touched, beyond the memory's end too.  So wasmtime must trust
   nothing but its own checks: it is told of no reservation, of no guard, and that memories
   may move, although none does.  Told of a reservation it would leave the check of the
   real size to the page tables, for a memory that declares a maximum.
2. A memory that would outgrow its slot does not grow; one that begins larger is refused.
3. What lies beyond a memory's end is zeros: nobody has written there since the slot was wiped.
"""

import ctypes as C
from struct import Struct

from coop.engine.arena import Arena
from coop.engine.marshal import space
from coop.engine.stacks import Creator, Finalizer, function_address, giver, new_error

DENSE_MEMORY = 64 << 20
"""Bytes a dense guest's memory may have.  Address space only: a guest that uses a page pays for a page."""

TOO_LARGE = "a dense guest's memory is too large"
NO_MEMORY = "no room for a guest's memory"
"""What wasmtime is told, and tells again."""

_NewMemory = C.CFUNCTYPE(C.c_size_t, *[C.c_size_t] * 7)
_GetMemory = C.CFUNCTYPE(C.c_size_t, C.c_size_t, C.c_size_t, C.c_size_t)
_GrowMemory = C.CFUNCTYPE(C.c_size_t, C.c_size_t, C.c_size_t)
_MEMORY, _SIZE = Struct("=QQQQ"), Struct("=Q")


def memory_creator(arena: Arena) -> Creator:
    """Return what makes wasmtime take the memories of guests from `arena`."""
    most, take = arena.size, arena.take
    store_size, store_memory = _SIZE.pack_into, _MEMORY.pack_into
    sizes: dict[int, int] = {}

    def get_memory(base: int, size_out: int, capacity_out: int) -> int:
        store_size(space, size_out, sizes[base])
        store_size(space, capacity_out, most)
        return base

    def grow_memory(base: int, size: int) -> int:
        try:
            if size > most:
                return new_error(f"{TOO_LARGE}: {size} bytes, of {most}")
            sizes[base] = size
        except BaseException as error:
            return new_error(f"{NO_MEMORY}: {error}")
        return 0

    getter, grower = _GetMemory(get_memory), _GrowMemory(grow_memory)
    finalizer = Finalizer(giver(arena, sizes))
    addresses = tuple(map(function_address, (getter, grower, finalizer)))

    def new_memory(_e: int, _t: int, minimum: int, _m: int, reserved: int, guard: int, out: int) -> int:
        try:
            assert (reserved, guard) == (0, 0)
            if minimum > most:
                return new_error(f"{TOO_LARGE}: {minimum} bytes, of {most}")
            base = take()
            sizes[base] = minimum
            store_memory(space, out, base, *addresses)
        except BaseException as error:
            return new_error(f"{NO_MEMORY}: {error}")
        return 0

    return Creator(_NewMemory(new_memory), getter, grower, finalizer)
