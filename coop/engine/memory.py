"""A guest's linear memory, seen from the host: every access is checked.

A slice of a memoryview clamps: `view[10:20]` of a view that ends at 15 is five
bytes long and no error.  For a guest that has just grown its memory, a stale view
would turn a read into an empty one, and `readv` into an empty slice says "end of
file".  So no slice is made here before its end was compared with the size.

1. `view` covers what the memory was when last looked; memory never shrinks and
   its base never moves, so an access that fits is right, and one that does not
   looks again before it fails.
2. Nothing here survives the guest: `release` makes every later access fail.
3. A slice that somebody kept must not outlive the store: touching it would end the
   process.  So every view is made of an inner one that knows how many are left, and
   while one is, `release` says so and the store stays.
"""

import ctypes as C
import struct
from itertools import filterfalse
from pickle import PickleBuffer
from typing import Any

from coop.engine.capi import held
from coop.engine.cells import MEMORY, Cells
from coop.errors import CoopError
from coop.slips import Unique

_from_memory = C.pythonapi.PyMemoryView_FromMemory
_from_memory.restype = C.py_object
_from_memory.argtypes = [C.c_void_p, C.c_ssize_t, C.c_int]
_WRITABLE = 0x200


_EMPTY = memoryview(bytearray())
"""The view of no memory; writable, for writes of nothing."""


class OutOfBounds(CoopError):
    """An address range that does not lie in the guest's memory: EFAULT, or the end of the guest."""


class Memory(Unique):
    """Checked access to one guest's memory.  Offsets and lengths are in bytes, little-endian as in wasm.

    view -- the bytes as last looked at; for code that checks `offset + length <= size` itself
    size -- how many those are
    base -- their address in this process
    """

    __slots__ = ("_cells", "_context", "_inner", "_older", "base", "size", "view")

    def __init__(self) -> None:
        self._context = 0
        self._cells: Cells | None = None
        self._inner: memoryview | None = None
        self._older: tuple[memoryview, ...] = ()
        self.view = _EMPTY
        self.size = self.base = 0

    def attach(self, context: int, cells: Cells) -> None:
        """Look from now on at the memory that is in its cell, of the store at `context`."""
        self._context, self._cells = context, cells
        self.refresh()

    def refresh(self) -> None:
        """Look at base and size again."""
        if self._cells is not None:
            where = C.addressof(self._cells) + MEMORY
            size = held.wasmtime_memory_data_size(self._context, where)
            if size != self.size:
                self.size = size
                self.base = held.wasmtime_memory_data(self._context, where)
                inner = _from_memory(self.base, size, _WRITABLE)
                if self._inner is not None:
                    self._older = tuple(filterfalse(_is_released, (*self._older, self._inner)))
                self._inner = inner
                # A slice of a memoryview leaves no trace in it; a view of its buffer, and what is cut
                # from that, keeps `inner` from being released.
                buffer = PickleBuffer(inner)
                self.view = memoryview(buffer)
                buffer.release()

    def release(self) -> bool:
        """Forget the memory, before its store goes; later accesses are out of bounds.

        Returns whether nobody holds a slice any more; if somebody does, ask again later.
        """
        self._cells = None
        view, self.view = self.view, _EMPTY
        if view is not _EMPTY:
            _is_released(view)  # or what was made of it keeps the next from being released
        self.size = 0
        if self._inner is not None and _is_released(self._inner):
            self._inner = None
        if self._older:
            self._older = tuple(filterfalse(_is_released, self._older))
        return self._inner is None and not self._older

    def __len__(self) -> int:
        """Return the size in bytes, as it is now."""
        self.refresh()
        return self.size

    def check(self, offset: int, length: int) -> None:
        """Raise OutOfBounds unless `length` bytes from `offset` lie in the memory."""
        if offset < 0 or length < 0 or offset + length > self.size:
            self.refresh()
            if offset < 0 or length < 0 or offset + length > self.size:
                raise OutOfBounds(
                    f"guest memory: {length} bytes at {offset:#x} end beyond its {self.size} bytes"
                )

    def slice(self, offset: int, length: int) -> memoryview:
        """Return a writable view of a range.  Drop it before the guest runs on or ends."""
        end = offset + length
        if end > self.size or offset < 0 or length < 0:
            self.check(offset, length)
        return self.view[offset:end]

    def read(self, offset: int, length: int) -> bytes:
        """Return a copy of a range.  Raises: OutOfBounds."""
        self.check(offset, length)
        return bytes(self.view[offset : offset + length])

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`, or nothing.  Raises: OutOfBounds."""
        source = memoryview(data).cast("B")
        length = len(source)
        self.check(offset, length)
        self.view[offset : offset + length] = source

    def unpack(self, layout: struct.Struct, offset: int) -> tuple[Any, ...]:
        """Read the values of `layout` at `offset`.  Raises: OutOfBounds."""
        self.check(offset, layout.size)
        return layout.unpack_from(self.view, offset)

    def pack(self, layout: struct.Struct, offset: int, *values: Any) -> None:
        """Write `values` as `layout` says at `offset`.  Raises: OutOfBounds."""
        self.check(offset, layout.size)
        layout.pack_into(self.view, offset, *values)


def _is_released(inner: memoryview) -> bool:
    """Release a view unless others were made of it that still live."""
    try:
        inner.release()
    except BufferError:
        return False
    return True


_kept: list[tuple[int, Memory]] = []
"""Stores of ended guests whose memory somebody still has a slice of."""


def delete_store(store: int, memory: Memory) -> None:
    """Delete a store, and those of earlier guests that had to wait; keep it while its memory is in use."""
    if memory.release():
        held.wasmtime_store_delete(store)
    else:
        _kept.append((store, memory))
    for entry in list(_kept) if _kept else ():
        if entry[1].release():
            try:
                _kept.remove(entry)
            except ValueError:
                continue  # another thread's scheduler came first
            held.wasmtime_store_delete(entry[0])
