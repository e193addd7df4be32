"""Which numbers are free: the allocator under every table that a guest names things in.

It is the pool of wasmtime's wasi-common, in its last form, which makes no numbers in advance.

1. The number freed last is handed out first; with nothing freed, the next one never used.
2. A number is either in use or free, and freeing what is not in use is a bug, always.
3. Nothing is reserved ahead: the memory is what has been freed and not taken again.
4. A table removes its entry **before** it frees the number, so that no number that
   the pool may hand out still names something.

Guests must not rely on the order; other hosts hand out numbers differently.
"""

from coop.errors import BugError

LIMIT = (1 << 32) - 1
"""How many numbers there are: 0 to 2**32 - 2, so that all ones never names anything."""


class FdPool:
    """A pool of the numbers 0 to `limit` - 1; both operations take constant time.

    limit -- how many numbers may be in use at once, 0 to 2**32 - 1
    """

    __slots__ = ("_free", "_next", "limit")

    def __init__(self, limit: int = LIMIT) -> None:
        if not 0 <= limit <= LIMIT:
            raise ValueError(f"make a pool of {limit} numbers: between 0 and {LIMIT} are possible")
        self.limit = limit
        self._next = 0
        self._free: dict[int, None] = {}  # in the order in which they were freed

    def __len__(self) -> int:
        """Count the numbers in use."""
        return self._next - len(self._free)

    def allocate(self) -> int | None:
        """Take a number, or return None if all are in use.

        Numbers freed after that happened are handed out again.
        Source: the fd pool of wasmtime's wasi-common.
        """
        if self._free:
            return self._free.popitem()[0]
        if self._next == self.limit:
            return None
        self._next += 1
        return self._next - 1

    def deallocate(self, number: int) -> None:
        """Give `number` back; the table's entry has gone before.

        Raises: BugError if it is not in use, pool unchanged.
        Source: the fd pool of wasmtime's wasi-common.
        """
        if not 0 <= number < self._next:
            raise BugError(f"free number {number}: it was never allocated")
        if number in self._free:
            raise BugError(f"free number {number}: it is free already")
        self._free[number] = None
