"""How large a guest's memory and tables became, beside what they may be.

wasmtime refuses a growth beyond a limit and tells the guest alone, by -1.  So what can be said of
these limits is how near a guest was when it ended: neither a memory nor a table ever shrinks.  A
program that gets no memory may have much room left all the same, since allocators ask for large
pieces, some for as much again as they have.
"""

import ctypes as C
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from coop.engine.binary import PAGE
from coop.engine.capi import EXTERN_TABLE, TableHandle, held
from coop.engine.cells import Cells, find_export, take_memory
from coop.engine.limits import Limits
from coop.engine.memory import Memory
from coop.errors import GuestTrap

_TABLES_SEEN = 16
"""Exports that are looked at for tables; compilers make one, and a guest must not make a start slow."""


class Size(NamedTuple):
    """What a guest had of one thing when it ended.

    limit    -- the limit's name, as `Limits` spells it
    value    -- what it allows; None: anything
    first    -- what the guest had at its start
    used     -- what it had at its end
    step     -- by how much it grows at least
    """

    limit: str
    value: int | None
    first: int
    used: int
    step: int

    @property
    def is_full(self) -> bool:
        """Whether it grew until not one step more was allowed."""
        return self.value is not None and self.first < self.used and self.used + self.step > self.value

    @property
    def is_large(self) -> bool:
        """Whether it could not have become twice as large."""
        return self.value is not None and 2 * self.used > self.value


class Sizes:
    """The sizes of one guest: `attach` when it is made, `take` before its store goes.

    A crowd may end at once, and hardly anybody asks how large each was: so that is put together when
    somebody does.
    """

    __slots__ = ("_context", "_first", "_last", "_limits", "_memory", "_tables")

    def __init__(self, limits: Limits, memory: Memory) -> None:
        self._last: tuple[int, int] | None = None
        self._limits = limits
        self._memory = memory
        self._tables: tuple[TableHandle, ...] = ()
        self._context = 0
        self._first = (0, 0)

    def attach(self, context: int, cells: Cells, others: Iterable[str]) -> None:
        """Find the memory of a new instance, and its tables.

        others -- the names of its exports that are no functions
        """
        self._context = context
        has_memory = take_memory(context, cells, "memory")
        if has_memory:
            self._memory.attach(context, cells)
        for name in islice(others, _TABLES_SEEN):
            found = None if has_memory and name == "memory" else find_export(context, cells, name)
            if found is not None and found.kind == EXTERN_TABLE:
                self._tables += (TableHandle.from_buffer_copy(found.of.table),)
        self._first = self._memory.size, self._elements()

    @property
    def memory(self) -> int:
        """Bytes of its memory, or of what it had at its end; 0 if it has none that is exported."""
        return len(self._memory) if self._last is None else self._last[0]

    @property
    def memory_seen(self) -> int:
        """The same as it was last looked at, for any thread.

        Only the guest's own may ask wasmtime: for another, the store may be gone by the time of the call.
        """
        return self._memory.size if self._last is None else self._last[0]

    def take(self) -> None:
        """Look at the sizes for the last time."""
        if self._context:
            self._last = len(self._memory), self._elements()
            self._context = 0

    @property
    def has_grown(self) -> bool:
        """Whether it had more at its end than at its start."""
        return self._last is not None and self._last != self._first

    @property
    def ended(self) -> tuple[Size, ...]:
        """What it had at its end; empty until then, and of a guest that was not made."""
        if self._last is None:
            return ()
        limits, first, (memory, elements) = self._limits, self._first, self._last
        return (
            Size("memory", limits.memory, first[0], memory, PAGE),
            Size("table_elements", limits.table_elements, first[1], elements, 1),
        )

    def _elements(self) -> int:
        """Return how long its longest table is: the limit is one for each."""
        if not self._tables:
            return 0
        context = self._context
        longest: int = max([held.wasmtime_table_size(context, C.byref(table)) for table in self._tables])
        return longest

    def explain(self, trap: GuestTrap) -> GuestTrap:
        """Return the trap of an ended guest with the limits that may be its reason."""
        near = [f"limit {size.limit}: {size.used} of {size.value}" for size in self.ended if size.is_large]
        return GuestTrap(f"{trap.message} ({'; '.join(near)})", trap.frames) if near else trap
