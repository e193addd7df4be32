"""Reads a directory of the host in pieces, from any entry on.

The cookie of an entry stands for the position that the kernel gives for it, so a directory
may change between two calls: the file system sees to it that what stays is met once.
A guest reads on from where its buffer was full, which is in the middle of what the
kernel gave last; that is kept, and most calls need no system call.

A C program keeps cookies in a long of 32 bits (telldir), and the positions of ext4 have 63.
So a large position gets a small number, which is its cookie for as long as the directory is
open.  A guest may hold thousands of directories open, so they share a bound on numbers; beyond
it positions are given as they are.  They share one on what is kept of the kernel's, too: it is
the directory that was not read for longest that must ask again.

1. Cookie 0 always asks the kernel, so starting over shows what is new.
2. A name that is not UTF-8 is left out: no path of a guest could name it.
3. `..` has the inode number of the directory itself, or it would tell what lies outside.
"""

import ctypes
import errno
import os
import struct
from collections import OrderedDict

from coop.fs.contract import ENTRY_SIZE, MAX_OFFSET, Entry
from coop.fs.hostsys import getdents

BATCH = 8192
"""Bytes asked from the kernel at a time; as entries they take up to ten times as much."""
BATCHES = 64
"""How many of the directories that share one `Listings` keep what the kernel gave last."""
NUMBERS = 32768
"""How many of their positions get a number; some 130 bytes each."""

_FIRST_NUMBER = 1 << 30
_FIRST_LARGE = 1 << 31
"""Cookies below the first are positions, those up to the second are numbers, and the rest positions again."""

_HEAD = struct.Struct("=QqHB")  # struct linux_dirent64: inode, position of the next, length of this, type


class Listings:
    """What a directory and all that are opened through it keep of what they read.

    numbers -- how many positions have one
    """

    __slots__ = ("_readers", "numbers")

    def __init__(self) -> None:
        self.numbers = 0
        self._readers: OrderedDict[DirentReader, None] = OrderedDict()  # with a batch, the last one read last

    def keep(self, reader: "DirentReader") -> None:
        """Let a reader have a batch; another one loses its own if they are too many."""
        self._readers[reader] = None
        self._readers.move_to_end(reader)
        if len(self._readers) > BATCHES:
            other, _ = self._readers.popitem(last=False)
            other.forget()

    def drop(self, reader: "DirentReader") -> None:
        """A reader needs its batch no longer."""
        self._readers.pop(reader, None)


class DirentReader:
    """Where one open directory is being read.

    fd       -- its descriptor, whose position nobody else moves
    listings -- what it shares with others
    """

    __slots__ = ("_batch", "_cookies", "_end", "_fd", "_given", "_listings", "_numbered", "_start")

    def __init__(self, fd: int, listings: Listings) -> None:
        self._fd = fd
        self._listings = listings
        self._batch: list[Entry] = []
        self._start = -1  # the position that leads to the batch
        self._end = -1  # the position behind it: where the kernel stands, or -1 if that is unsure
        self._given = 0  # how many of the batch were given out last
        self._numbered: list[int] = []  # the positions that have a number, which is their index
        self._cookies: dict[int, int] = {}  # and the way back

    def read(self, cookie: int, room: int) -> list[Entry]:
        """Return entries behind `cookie`: as many as `room` bytes hold, and one more if there is one.

        Raises: OSError(EINVAL) for a cookie that cannot be.
        """
        if not 0 <= cookie <= MAX_OFFSET:
            raise OSError(errno.EINVAL, f"read a directory from {cookie}")
        at = self._find(cookie)
        if at is None:
            self._fill(self._position(cookie))
            at = 0
        found: list[Entry] = []
        while room >= 0:
            if at == len(self._batch):
                self._fill(self._end)
                at = 0
                if not self._batch:
                    break
            entry = self._batch[at]
            found.append(entry)
            room -= ENTRY_SIZE + len(entry.name)
            at += 1
        self._given = at
        return found

    def forget(self) -> None:
        """Drop the batch: the kernel is asked again, from any cookie."""
        self._batch, self._given, self._start, self._end = [], 0, -1, -1

    def close(self) -> None:
        """Give back what it took of `listings`; it is read no more."""
        self.forget()
        self._listings.drop(self)
        self._listings.numbers -= len(self._numbered)
        self._numbered, self._cookies = [], {}

    def _find(self, cookie: int) -> int | None:
        """Return the index in the batch of the entry behind `cookie`; None if the kernel must be asked."""
        if cookie == 0:
            return None
        # It is one of the last that were given out, so the way back from there is short.
        for at in range(self._given, 0, -1):
            if self._batch[at - 1].next == cookie:
                return at
        return 0 if self._position(cookie) == self._start else None

    def _position(self, cookie: int) -> int:
        """Return what the kernel calls it.  Raises: OSError(EINVAL) for a number that was not given out."""
        if not _FIRST_NUMBER <= cookie < _FIRST_LARGE:
            return cookie
        number = cookie - _FIRST_NUMBER
        if number >= len(self._numbered):
            raise OSError(errno.EINVAL, f"read a directory from {cookie}")
        return self._numbered[number]

    def _cookie(self, position: int) -> int:
        """Return what the guest calls it."""
        if position < _FIRST_NUMBER:
            return position
        cookie = self._cookies.get(position)
        if cookie is not None:
            return cookie
        if position >= _FIRST_LARGE and self._listings.numbers >= NUMBERS:
            return position
        self._listings.numbers += 1
        cookie = self._cookies[position] = _FIRST_NUMBER + len(self._numbered)
        self._numbered.append(position)
        return cookie

    def _fill(self, position: int) -> None:
        """Read the next batch, behind `position`; it is empty at the end."""
        kernels = self._end
        self.forget()
        self._listings.keep(self)
        if position != kernels:
            os.lseek(self._fd, position, os.SEEK_SET)
        end = self._start = position
        buffer = ctypes.create_string_buffer(BATCH)
        while not self._batch:
            try:
                size = getdents(self._fd, buffer)
            except FileNotFoundError:
                size = 0  # the directory was removed
            if size == 0:
                break
            end = self._parse(buffer.raw[:size])
        self._end = end

    def _parse(self, raw: bytes) -> int:
        """Append the entries in `raw` to the batch, and return the position behind them."""
        at, following = 0, 0
        while at < len(raw):
            ino, following, size, kind = _HEAD.unpack_from(raw, at)
            name_at = at + _HEAD.size
            name = raw[name_at : raw.index(b"\0", name_at)]
            at += size
            try:
                name.decode()
            except UnicodeDecodeError:
                continue
            if name == b"..":
                ino = os.fstat(self._fd).st_ino
            self._batch.append(Entry(self._cookie(following), ino, kind << 12, name))
        return following
