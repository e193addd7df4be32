"""Slots of memory for guests: their fibers' stacks, and the memories of dense ones.

What wasmtime maps itself costs two of the process's memory maps for each stack and for
each memory, and the system allows 65530.  Here each is a slot of what was mapped for
many at once:

    ... | guard | slot | guard | slot ...

The guard is one page that may not be touched.  Since Linux 6.13 it is a mark in the page
table (MADV_GUARD_INSTALL) and splits no map; on older kernels it is protected, which makes
two maps of each slot.  A stack is used from its upper end, a memory from its lower, so
what is used lies beside a guard, and both are nearly always in one page of the page table.

A slot goes round:

    raw --guard--> in use --given back--> used --wiped--> clean, in use again
                                            `--its run is mapped anew--> raw

1. Whatever is taken reads as zeros: no guest's byte is found by another.
2. Slots are wiped some at a time, neighbours by one call, so at most `_BATCH` that nobody
   uses hold memory, and fewer where guests may have touched much of each: a thread that
   wipes does nothing else.  A run of many is mapped anew instead: that gives the page
   tables back as well.  Address space stays reserved.
3. There is no lock: whoever holds a number has it from the atomic `pop` of a deque, and
   nobody else does.  A collection may run in any callback and give a slot back there, on
   the thread that is just taking one; a lock would be held already.
"""

import ctypes as C
import errno
import mmap
import os
import resource
from collections import deque
from collections.abc import Iterator
from typing import Final

_PAGE = mmap.PAGESIZE
_BATCH = 32
"""Slots that wait to be wiped together: one call for each costs three times as much."""
_AT_ONCE = 64 << 20
"""Bytes that may have to be wiped together: that takes up to a hundredth of a second."""
_RUN = 16
"""So many neighbours are mapped anew: from here on that costs less than their guards cost again."""
_FIRST, _MOST = 32, 1024
"""Slots mapped at once: as many as there are, within these bounds."""
_RESERVE = 64 << 20
"""Address space left alone, for `malloc`: wasmtime ends the process when that fails."""
_AT_EXECFN = 31

_PROT_NONE, _READ_WRITE = 0, mmap.PROT_READ | mmap.PROT_WRITE
_NORESERVE, _FIXED = 0x4000, 0x10
_HOW = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE | 0x20000
"""Besides: MAP_STACK, by which the kernel keeps huge pages away."""
_DONTNEED, _NOHUGEPAGE, _GUARD_INSTALL = 4, 15, 102
_NO_MAPPING = C.c_size_t(-1).value

_libc = C.PyDLL(None, use_errno=True)
_libc.mmap.restype = C.c_size_t
_libc.mmap.argtypes = [C.c_size_t, C.c_size_t, C.c_int, C.c_int, C.c_int, C.c_long]
_libc.madvise.argtypes = [C.c_size_t, C.c_size_t, C.c_int]
_libc.mprotect.argtypes = [C.c_size_t, C.c_size_t, C.c_int]
_libc.getauxval.restype = C.c_ulong
_libc.getauxval.argtypes = [C.c_ulong]

ALL: Final = 1 << int(_libc.getauxval(_AT_EXECFN)).bit_length()
"""Address space of a process: 128 TiB on x86-64, on aarch64 256 TiB or as little as 512 GiB, as the kernel is
built.  No call tells it; but the first thread's stack ends at its end, and the program's name lies there."""

UNTOLD = FileNotFoundError, PermissionError
"""What tells that /proc is not mounted, as in some jails, or closed."""


def address_space_left() -> int:
    """Count the bytes that may still be mapped, less what is kept for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    limit = ALL if soft == resource.RLIM_INFINITY else min(soft, ALL)
    try:
        with open("/proc/self/statm", "rb") as sizes:
            taken = int(sizes.read().split()[0]) * _PAGE
    except UNTOLD:
        taken = 0
    return limit - taken - _RESERVE


class Arena:
    """Slots of one size.  Any thread may take and give.

    size  -- bytes of a slot that may be used: whole pages
    count -- slots there are
    reach -- how much of a slot a guest may touch by itself; all of it if nothing is said
    """

    def __init__(self, size: int, reach: int | None = None) -> None:
        self.size = size = -(-size // _PAGE) * _PAGE
        self.count = 0
        self.splits = False
        """Whether each guard makes a map of its own, as on kernels without MADV_GUARD_INSTALL."""
        self._stride = size + _PAGE
        self._reach = size if reach is None else reach
        self._run = max(2, min(_RUN, _AT_ONCE // self._reach))
        self._touched = 0
        """About so much is to be wiped; threads may add at once, and some of it is lost."""
        self._raw: deque[int] = deque()
        self._clean: deque[int] = deque()
        self._used: deque[int] = deque()

    def take(self) -> int:
        """Return the address of a slot that is all zeros.  Raises: OSError if the system has no room."""
        if not self._clean and not self._raw:
            self.wipe()
        try:
            return self._clean.pop()
        except IndexError:
            pass
        while True:
            try:
                base = self._raw.pop()
                break
            except IndexError:
                self._grow()
        try:
            self._guard(base - _PAGE)
        except OSError:
            self._raw.append(base)
            raise
        return base

    def need(self) -> int:
        """Return how much address space the next slot takes."""
        return 0 if self._clean or self._raw or self._used else self._stride

    def give(self, base: int, touched: int | None = None) -> None:
        """Take a slot back, whatever it holds, of which so many bytes may have been touched."""
        touched = self._reach if touched is None else touched
        if self._touched + touched > _AT_ONCE:
            self.wipe()
        self._touched += touched
        self._used.append(base)
        if len(self._used) >= _BATCH:
            self.wipe()

    def wipe(self) -> None:
        """Give the memory of the slots that nobody uses back to the system."""
        self._touched = 0
        for base, count in self._runs(list(_taken(self._used))):
            bases = range(base, base + count * self._stride, self._stride)
            if count >= self._run and self._map(base - _PAGE, count * self._stride) == base - _PAGE:
                self._raw.extend(reversed(bases))
            elif _libc.madvise(base, count * self._stride - _PAGE, _DONTNEED) == 0:
                self._clean.extend(reversed(bases))
            # Else they are locked into memory.  Nobody gets them again: that is the invariant, at a price.

    def _runs(self, bases: list[int]) -> Iterator[tuple[int, int]]:
        """Find neighbours: the lowest of each run, and how many they are."""
        bases.sort()
        first = 0
        for i in range(1, len(bases) + 1):
            if i == len(bases) or bases[i] != bases[i - 1] + self._stride:
                yield bases[first], i - first
                first = i

    def _grow(self) -> None:
        """Map more slots, as many as the system allows.  Raises: OSError for not even one."""
        count = min(max(_FIRST, self.count), _MOST)
        while count * self._stride > address_space_left() or (
            (start := self._map(0, count * self._stride)) == _NO_MAPPING
        ):
            count //= 2
            if not count:
                raise OSError(errno.ENOMEM, f"no address space for {self._stride} bytes")
        self.count += count
        self._raw.extend(start + _PAGE + i * self._stride for i in reversed(range(count)))

    def _map(self, at: int, length: int) -> int:
        where: int = _libc.mmap(at, length, _READ_WRITE, _HOW | (_FIXED if at else 0), -1, 0)
        if where != _NO_MAPPING:
            # A huge page would make two megabytes of every slot.
            _libc.madvise(where, length, _NOHUGEPAGE)
        return where

    def _guard(self, page: int) -> None:
        if not self.splits:
            if _libc.madvise(page, _PAGE, _GUARD_INSTALL) == 0:
                return
            self.splits = True
        if _libc.mprotect(page, _PAGE, _PROT_NONE) != 0:
            raise OSError(C.get_errno(), f"protect a guard page: {os.strerror(C.get_errno())}")


def _taken(slots: deque[int]) -> Iterator[int]:
    """Take all that there is."""
    try:
        while True:
            yield slots.popleft()
    except IndexError:
        return
