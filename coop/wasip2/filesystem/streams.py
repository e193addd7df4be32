"""Streams of files, and of the entries of directories.

Each has its own position and moves no other.  Each names the file it was made of, so it
goes on when the descriptor is dropped.
"""

from typing import NamedTuple

from coop.fs import Directory, Entry, RegularFile
from coop.netpoll.contract import READ, WRITE
from coop.netpoll.openfile import BLOCKED, OpenFile
from coop.wasip2.filesystem.errorcode import fallible
from coop.wasip2.filesystem.modes import descriptor_type
from coop.wasip2.pollables import Pollable, ReadyPollable
from coop.wasip2.reading import FileInput, InputStream
from coop.wasip2.world import World, released
from coop.wasip2.writing import FileOutput, OutputStream
from coop.wit import Resource

__all__ = ["DirectoryEntries", "append_stream", "input_stream", "output_stream"]

_BATCH = 4096
"""Bytes of names and bookkeeping that are asked for at a time; every listing holds as much."""


def input_stream(world: World, file: OpenFile, offset: int) -> InputStream:
    """Make a stream that reads a file from `offset` on; what has no positions is read as it comes."""
    if isinstance(file, RegularFile):
        return _FileReader(world, file, offset)
    return FileInput(world, file.retain())


def output_stream(world: World, file: OpenFile, offset: int) -> OutputStream:
    """Make a stream that writes a file from `offset` on; what has no positions is written as it comes."""
    if isinstance(file, RegularFile):
        return _FileWriter(world, file, offset)
    return FileOutput(world, file.retain())


def append_stream(world: World, file: OpenFile) -> OutputStream:
    """Make a stream that writes a file at its end, wherever that is by then."""
    if isinstance(file, RegularFile):
        return _FileWriter(world, file, None)
    return FileOutput(world, file.retain())


class _FileReader(InputStream):
    """Reads a file from a position of its own; always ready, though the disk may have to be waited for."""

    __slots__ = ("_at", "_file")

    def __init__(self, world: World, file: RegularFile, at: int) -> None:
        super().__init__(world)
        file.retain()
        self._file = file
        self._at = at

    def take(self, length: int) -> bytes | None:
        """Try to read."""
        buffer = bytearray(length)
        count = self._file.pread((memoryview(buffer),), self._at)
        if count == BLOCKED:
            return None
        self._at += count
        return bytes(buffer) if count == length else bytes(memoryview(buffer)[:count])

    def wait(self) -> None:
        """Park until the disk has what is to be read."""
        self._file.wait(READ, "read")

    def must_wait(self) -> bool:
        """Say yes: a file that is always ready must not answer a read with nothing."""
        return True

    def pollable(self) -> Pollable:
        """Make a pollable that is ready at once."""
        return ReadyPollable(self.world.owner, self)

    def drop(self) -> None:
        """Let go of the file."""
        released(self._file)


class _FileWriter(OutputStream):
    """Writes a file from a position of its own, or at its end (None).

    It takes all that is permitted at once, and is waited for only where each write is to reach the disk.
    """

    __slots__ = ("_at", "_file")

    def __init__(self, world: World, file: RegularFile, at: int | None) -> None:
        super().__init__(world)
        file.retain()
        self._file = file
        self._at = at

    def put(self, data: bytes | memoryview) -> int:
        """Write."""
        at, buffers = self._at, (memoryview(data),)
        if at is None:
            return self._file.append(buffers)
        count = self._file.pwrite(buffers, at)
        if count != BLOCKED:
            self._at = at + count
        return count

    def wait(self) -> None:
        """Park until what was written is on the disk."""
        self._file.wait(WRITE, "write")

    def must_wait(self) -> bool:
        """Say yes: only then has the guest the disk's word when its call returns."""
        return True

    def level(self) -> bool:
        """Say yes: a file takes what it is given."""
        return True

    def finish(self) -> None:
        """Let go of the file."""
        released(self._file)


class DirectoryEntry(NamedTuple):
    """wasi:filesystem/types directory-entry."""

    type: str
    name: str


class DirectoryEntries(Resource):
    """wasi:filesystem/types directory-entry-stream: a listing from the beginning, `.` and `..` left out."""

    __slots__ = ("_batch", "_cookie", "_directory")

    def __init__(self, directory: Directory) -> None:
        super().__init__()
        directory.retain()
        self._directory = directory
        self._batch: list[Entry] = []  # what is to be given out, the next one last
        self._cookie: int | None = 0  # where to read on; None behind the end

    @fallible("func() -> result<option<directory-entry>, error-code>")
    def read_directory_entry(self) -> DirectoryEntry | None:
        """Return the next entry; None at the end."""
        while not self._batch:
            if self._cookie is None:
                return None
            self._fill(self._cookie)
        entry = self._batch.pop()
        return DirectoryEntry(descriptor_type(entry.mode), entry.name.decode())

    def _fill(self, cookie: int) -> None:
        found = self._directory.entries(cookie, _BATCH)
        self._cookie = found[-1].next if found else None
        self._batch = [entry for entry in reversed(found) if entry.name not in (b".", b"..")]

    def drop(self) -> None:
        """Let go of the directory."""
        released(self._directory)
