"""The bytes of a file in memory.

They lie in pieces of 64 KiB.  A piece is there once something in it was written and
is as long as its last byte needs, so a hole costs nothing, whatever number a guest
chose for its end, and no write moves what is there already.

What a guest makes the host allocate is counted before it is allocated.
"""

import errno
import os
import stat
from collections.abc import Iterator

from coop.fs.contract import MAX_OFFSET
from coop.fs.memnode import Node, Quota, fitting

_PIECE = 1 << 16
_SMALL = 256  # a piece behind the first counts as so many bytes at least, which its bookkeeping takes
_ZEROS = memoryview(bytes(_PIECE))


class FileNode(Node):
    """A regular file: its size, and the pieces that hold its bytes by their number."""

    __slots__ = ("_pieces", "_stored", "size")

    def __init__(self, quota: Quota, ino: int) -> None:
        super().__init__(quota, ino, stat.S_IFREG | 0o644)
        self.size = 0
        self._pieces: dict[int, bytearray] = {}
        self._stored = 0

    @property
    def length(self) -> int:
        """The size, holes included."""
        return self.size

    def read(self, buffer: memoryview, offset: int) -> int:
        """Copy into `buffer` from `offset`, zeros for holes, and return how many bytes; 0 at the end."""
        count = min(len(buffer), self.size - offset)
        done = 0
        while done < count:
            index, start = divmod(offset + done, _PIECE)
            part = min(_PIECE - start, count - done)
            piece = self._pieces.get(index, b"")
            filled = done + min(max(len(piece) - start, 0), part)
            # No view of it is left in a variable: who looks at frames would keep the piece from growing.
            buffer[done:filled] = memoryview(piece)[start : start + part]
            done += part
            if filled < done:
                buffer[filled:done] = _ZEROS[: done - filled]
        return done

    def write(self, buffer: memoryview, offset: int) -> int:
        """Copy `buffer` to `offset`, as much as there is room for, and return how many bytes.

        Raises: OSError(ENOSPC) no room for any; OSError(EFBIG) at the largest size.
        """
        if not buffer:
            return 0
        total = min(len(buffer), MAX_OFFSET - offset)
        if total <= 0:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        done = 0
        while done < total:
            index, start = divmod(offset + done, _PIECE)
            part = min(_PIECE - start, total - done)
            piece = self._pieces.get(index)
            if piece is not None and start + part <= len(piece):
                memoryview(piece)[start : start + part] = buffer[done : done + part]
                done += part
                continue
            fits = min(self._room(index, start + part) - start, part)
            if fits > 0:
                self._extend(index, start, buffer[done : done + fits])
                done += fits
            if fits < part:
                break
        if not done:
            raise self.quota.refusal("max_bytes")
        self.size = max(self.size, offset + done)
        self.changed()
        return done

    def replace(self, data: bytes) -> None:
        """Have `data` and nothing else.  Raises: OSError(ENOSPC), nothing changed."""
        last, tail = divmod(len(data), _PIECE)
        if last * _PIECE + _cost(last, tail) > self._stored + self.quota.free_bytes:
            raise self.quota.refusal("max_bytes")
        self.resize(0)
        self.write(memoryview(data), 0)

    def resize(self, size: int) -> None:
        """Cut the file at `size`, or make it longer by a hole."""
        if size < self.size:
            last, keep = divmod(size, _PIECE)
            self._drop_behind(last)
            self._cut(last, keep)
        self.size = size
        self.changed()

    def allocate(self, offset: int, end: int) -> None:
        """Store zeros wherever nothing is stored from `offset` to `end`.

        Raises: OSError(ENOSPC), nothing changed.
        """
        # The first look bounds the second: `end` is a number that a guest chose.
        if end - offset > self._stored + self.quota.free_bytes:
            raise self.quota.refusal("max_bytes")
        ranges = [(index, stop) for index, stop in _split(offset, end) if stop > self._end_of(index)]
        if sum(_cost(index, stop) - self._cost_of(index) for index, stop in ranges) > self.quota.free_bytes:
            raise self.quota.refusal("max_bytes")
        for index, stop in ranges:
            piece = self._piece(index, stop)
            piece += bytes(stop - len(piece))
        self.size = max(self.size, end)
        self.changed()

    def free(self) -> None:
        """Give back the bytes of every piece."""
        self.quota.used_bytes -= self._stored
        self._stored = 0
        self._pieces = {}

    # -- pieces

    def _end_of(self, index: int) -> int:
        """Return how many bytes of a piece are stored."""
        return len(self._pieces.get(index, b""))

    def _cost_of(self, index: int) -> int:
        return _cost(index, self._end_of(index))

    def _room(self, index: int, wanted: int) -> int:
        """Return how long a piece may become, at most `wanted`; log the limit if that is less."""
        possible = self._cost_of(index) + self.quota.free_bytes
        if _cost(index, wanted) <= possible:
            return wanted
        self.quota.reached("max_bytes")
        return possible if possible >= _cost(index, 1) else 0

    def _extend(self, index: int, start: int, data: memoryview) -> None:
        """Have `data` at `start` of a piece that ends before or in it."""
        piece = self._piece(index, start + len(data))
        del piece[start:]
        piece += bytes(start - len(piece))
        piece += data

    def _piece(self, index: int, end: int) -> bytearray:
        """Return a piece that its caller makes `end` bytes long; they count from now on."""
        more = _cost(index, end) - self._cost_of(index)
        self.quota.used_bytes += more
        self._stored += more
        return self._pieces.setdefault(index, bytearray())

    def _drop_behind(self, last: int) -> None:
        """Drop all pieces behind one: a few by their numbers, or keep what is before them in one pass."""
        candidates = range(last + 1, self.size // _PIECE + 1)
        if len(candidates) < len(self._pieces) // 8:  # a cut takes so much longer than a look
            for index in candidates:
                self._cut(index, 0)
            return
        self._pieces = {index: piece for index, piece in self._pieces.items() if index <= last}
        stored = sum(_cost(index, len(piece)) for index, piece in self._pieces.items())
        self.quota.used_bytes -= self._stored - stored
        self._stored = stored

    def _cut(self, index: int, end: int) -> None:
        if end >= self._end_of(index):
            return
        less = self._cost_of(index) - _cost(index, end)
        self.quota.used_bytes -= less
        self._stored -= less
        if end:
            self._pieces[index] = self._pieces[index][:end]  # a copy: one cut in place keeps its memory
        else:
            del self._pieces[index]
            self._pieces = fitting(self._pieces)


def _cost(index: int, length: int) -> int:
    """Return what a piece counts as."""
    return max(length, _SMALL) if index and length else length


def _split(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Return the pieces from `start` to `end`, each with how long it must be."""
    first, last = start // _PIECE, (end - 1) // _PIECE
    for index in range(first, last):
        yield index, _PIECE
    yield last, end - last * _PIECE
