"""What an in-memory file system is made of: inodes, and the quota that they share.

A directory's names are found by name, and in the order in which they came, by
number: a place in that order outlives every change.

A node lives while a name or an open file has it.  With the last of them it gives
back what it took of the quota.
"""

import errno
import stat
import sys
from bisect import bisect_left
from collections.abc import Iterator
from time import time_ns
from typing import TypeVar

from coop.fs.contract import NOW, Stat
from coop.logs import Log

log = Log("coop.fs")

_DOTS = 2  # the numbers of `.` and `..` in every directory
_BLOCK_BITS = 8
_SPARE = 512
_PER_ITEM = 128  # bytes a dictionary may take; one that has just grown, or is a copy, takes up to 60

K = TypeVar("K")
V = TypeVar("V")


class Quota:
    """How much may be stored, and how much is.

    used_bytes   -- of files and of the targets of links; holes are free
    used_entries -- names, and nodes without a name that are still open
    """

    __slots__ = ("_told", "max_bytes", "max_entries", "used_bytes", "used_entries")

    def __init__(self, max_bytes: int, max_entries: int) -> None:
        self.max_bytes, self.max_entries = max_bytes, max_entries
        self.used_bytes = self.used_entries = 0
        self._told: set[str] = set()

    @property
    def free_bytes(self) -> int:
        """How many more bytes may be stored."""
        return self.max_bytes - self.used_bytes

    def take_bytes(self, count: int) -> None:
        """Count bytes that are to be stored.  Raises: OSError(ENOSPC), nothing counted."""
        if count > self.free_bytes:
            raise self.refusal("max_bytes")
        self.used_bytes += count

    def take_entry(self) -> None:
        """Count one more entry.  Raises: OSError(ENOSPC), nothing counted."""
        if self.used_entries >= self.max_entries:
            raise self.refusal("max_entries")
        self.used_entries += 1

    def reached(self, limit: str) -> None:
        """Name a limit in the log, once: a guest that tries again and again must not fill it."""
        if limit not in self._told:
            self._told.add(limit)
            log.warning("limit reached", limit=limit, value=getattr(self, limit))

    def refusal(self, limit: str) -> OSError:
        """Make the error for a limit that is reached, and name it in the log.

        ENOSPC and not EDQUOT: it is the file system that is full, as a tmpfs with a size is, and not
        somebody's share of it.
        """
        self.reached(limit)
        return OSError(errno.ENOSPC, f"the in-memory directory is full: {limit} is {getattr(self, limit)}")


class Node:
    """One inode.

    mode  -- as in `st_mode`; the permissions are for show
    nlink -- its names; for a directory, as on Linux, 2 and its subdirectories, or 0 once removed
    opens -- the open files that have it
    """

    __slots__ = ("atime_ns", "ctime_ns", "ino", "mode", "mtime_ns", "nlink", "opens", "quota")

    def __init__(self, quota: Quota, ino: int, mode: int) -> None:
        self.quota, self.ino, self.mode = quota, ino, mode
        self.nlink = self.opens = 0
        self.atime_ns = self.mtime_ns = self.ctime_ns = time_ns()

    @property
    def length(self) -> int:
        """The size that `stat` tells."""
        return 0

    def stat(self, dev: int) -> Stat:
        """Return what is known of it."""
        times = (self.atime_ns, self.mtime_ns, self.ctime_ns)
        return Stat(dev, self.ino, self.mode, self.nlink, self.length, *times)

    def free(self) -> None:
        """Give back the bytes it took: it is gone."""

    # -- times

    def changed(self) -> None:
        """Note that its content changed."""
        self.mtime_ns = self.ctime_ns = time_ns()

    def renamed(self) -> None:
        """Note that a name of it came or went."""
        self.ctime_ns = time_ns()

    def accessed(self) -> None:
        """Note that it was read: once after each change, as Linux does it (relatime)."""
        if self.atime_ns <= self.mtime_ns or self.atime_ns <= self.ctime_ns:
            self.atime_ns = time_ns()

    def set_times(self, atime_ns: int | None, mtime_ns: int | None) -> None:
        """Set times as the contract says."""
        now_ns = time_ns()
        if atime_ns is not None:
            self.atime_ns = now_ns if atime_ns == NOW else atime_ns
        if mtime_ns is not None:
            self.mtime_ns = now_ns if mtime_ns == NOW else mtime_ns
        if (atime_ns, mtime_ns) != (None, None):
            self.ctime_ns = now_ns


class LinkNode(Node):
    """A symbolic link."""

    __slots__ = ("target",)

    def __init__(self, quota: Quota, ino: int, target: bytes) -> None:
        quota.take_bytes(len(target))
        super().__init__(quota, ino, stat.S_IFLNK | 0o777)
        self.target = target

    @property
    def length(self) -> int:
        """The target's length."""
        return len(self.target)

    def free(self) -> None:
        """Give back the target's bytes."""
        self.quota.used_bytes -= len(self.target)


class DirectoryNode(Node):
    """A directory: nodes by name, and the names by the number each got when it came.

    Names with numbers next to each other are in one block, so that finding the way into a long
    directory, and taking a name out of it, moves no long list.

    parent -- the directory it is in; the root, for the root and for what was removed
    names  -- name -> its number and its node
    """

    __slots__ = ("_block_numbers", "_blocks", "_last", "names", "parent")

    def __init__(self, quota: Quota, ino: int, parent: "DirectoryNode | None" = None) -> None:
        super().__init__(quota, ino, stat.S_IFDIR | 0o755)
        self.parent = parent or self
        self.names: dict[bytes, tuple[int, Node]] = {}
        self.nlink = 2
        self._last = _DOTS
        self._blocks: dict[int, dict[int, bytes]] = {}
        self._block_numbers: list[int] = []

    def add(self, name: bytes, node: Node) -> None:
        """Give `node` a name that is free here."""
        self._last += 1
        self.names[name] = (self._last, node)
        block = self._last >> _BLOCK_BITS
        if block not in self._blocks:
            self._blocks[block] = {}
            self._block_numbers.append(block)
        self._blocks[block][self._last] = name
        self._came(node)

    def remove(self, name: bytes) -> Node:
        """Take a name away and return its node."""
        number, node = self.names.pop(name)
        block = number >> _BLOCK_BITS
        del self._blocks[block][number]
        if self._blocks[block]:
            self._blocks[block] = fitting(self._blocks[block])
        else:
            del self._blocks[block]
            del self._block_numbers[bisect_left(self._block_numbers, block)]
            self._blocks = fitting(self._blocks)
        self.names = fitting(self.names)
        self._went(node)
        return node

    def replace(self, name: bytes, node: Node) -> Node:
        """Give `node` the name of another and return that one.

        The number stays: who reads the directory meanwhile sees the name once.
        """
        number, other = self.names[name]
        self.names[name] = (number, node)
        self._went(other)
        self._came(node)
        return other

    def after(self, number: int) -> Iterator[tuple[int, bytes, Node]]:
        """Return the names that have a larger number, with it and their nodes, in order."""
        start = bisect_left(self._block_numbers, number >> _BLOCK_BITS)
        for position in range(start, len(self._block_numbers)):
            for found, name in self._blocks[self._block_numbers[position]].items():
                if found > number:
                    yield found, name, self.names[name][1]

    def _came(self, node: Node) -> None:
        if isinstance(node, DirectoryNode):
            node.parent = self
            self.nlink += 1
        else:
            node.nlink += 1
        node.renamed()
        self.changed()

    def _went(self, node: Node) -> None:
        if isinstance(node, DirectoryNode):
            self.nlink -= 1
        else:
            node.nlink -= 1
        node.renamed()
        self.changed()


def fitting(table: dict[K, V]) -> dict[K, V]:
    """Return `table`, or a copy in less memory if it was much larger: a dictionary never shrinks.

    For whoever takes items away.  A copy is made once for many of them, so each costs little.
    """
    return dict(table) if sys.getsizeof(table) > _SPARE + _PER_ITEM * len(table) else table
