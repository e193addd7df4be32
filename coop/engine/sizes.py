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

    ended -- what it had at its end; empty until then, and of a guest that was not made
    """

    __slots__ = ("_context", "_first", "_limits", "_memory", "_tables", "ended")

    def __init__(self, limits: Limits, memory: Memory) -> None:
        self.ended: tuple[Size, ...] = ()
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
        return self.ended[0].used if self.ended else len(self._memory)

    @property
    def memory_seen(self) -> int:
        """The same as it was last looked at, for any thread.

        Only the guest's own may ask wasmtime: for another, the store may be gone by the time of the call.
        """
        return self.ended[0].used if self.ended else self._memory.size

    def take(self) -> None:
        """Look at the sizes for the last time."""
        if self._context:
            limits, memory, elements = self._limits, len(self._memory), self._elements()
            self.ended = (
                Size("memory", limits.memory, self._first[0], memory, PAGE),
                Size("table_elements", limits.table_elements, self._first[1], elements, 1),
            )
            self._context = 0

    def _elements(self) -> int:
        """Return how long its longest table is: the limit is one for each."""
        context = self._context
        return max([held.wasmtime_table_size(context, C.byref(table)) for table in self._tables], default=0)

    def explain(self, trap: GuestTrap) -> GuestTrap:
        """Return the trap of an ended guest with the limits that may be its reason."""
        near = [f"limit {size.limit}: {size.used} of {size.value}" for size in self.ended if size.is_large]
        return GuestTrap(f"{trap.message} ({'; '.join(near)})", trap.frames) if near else trap
