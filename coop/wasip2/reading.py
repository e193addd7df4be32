"""wasi:io/streams, the reading half."""

from coop.netpoll.contract import READ
from coop.netpoll.openfile import BLOCKED, OpenFile
from coop.wasip2.failure import CLOSED, failed
from coop.wasip2.pollables import FilePollable, Pollable
from coop.wasip2.world import World, released
from coop.wit import Err, Later, Resource, function

__all__ = ["MOST", "FileInput", "InputStream"]

MOST = 64 << 10
"""Bytes that one call reads at most."""


class InputStream(Resource):
    """wasi:io/streams input-stream.  A subclass says how a try is made and what is waited for."""

    __slots__ = ("world",)

    def __init__(self, world: World, parent: Resource | None = None) -> None:
        super().__init__(parent)
        self.world = world

    def take(self, length: int) -> bytes | None:
        """Read up to `length` bytes, at least 1; b"" is the end, None: nothing yet.  Raises: OSError."""
        raise NotImplementedError

    def wait(self) -> None:
        """Park until a try may do better."""
        raise NotImplementedError

    def must_wait(self) -> bool:
        """Whether only `wait` makes progress, so that a read that does not block would never get anything."""
        return False

    def pollable(self) -> Pollable:
        """Make the pollable of its readiness."""
        raise NotImplementedError

    def _take(self, length: int) -> bytes | None:
        count = self.world.bytes_per_call(length, MOST)
        if not count:
            return b""
        try:
            data = self.take(count)
        except OSError as error:
            raise failed(error) from error
        if data == b"":
            raise Err(CLOSED)
        return data

    def _take_waiting(self, length: int) -> bytes:
        while (data := self._take(length)) is None:
            self.wait()
        return data

    @function("func(len: u64) -> result<list<u8>, stream-error>", parks=None)
    def read(self, length: int) -> bytes | Later:
        """Read what is there, up to `length` bytes."""
        data = self._take(length)
        if data is None:
            return Later(lambda: self._take_waiting(length)) if self.must_wait() else b""
        return data

    @function("func(len: u64) -> result<list<u8>, stream-error>", parks=None)
    def blocking_read(self, length: int) -> bytes | Later:
        """Read up to `length` bytes, waiting for the first."""
        data = self._take(length)
        return Later(lambda: self._take_waiting(length)) if data is None else data

    @function("func(len: u64) -> result<u64, stream-error>", parks=None)
    def skip(self, length: int) -> int | Later:
        """Read as `read` does, and count the bytes instead of giving them."""
        return _counted(self.read(length))

    @function("func(len: u64) -> result<u64, stream-error>", parks=None)
    def blocking_skip(self, length: int) -> int | Later:
        """Read as `blocking_read` does, and count the bytes instead of giving them."""
        return _counted(self.blocking_read(length))

    @function("func() -> pollable", parks=False)
    def subscribe(self) -> Pollable:
        """Make a pollable that is ready when there is something to read, or the end."""
        return self.pollable()


def _counted(data: bytes | Later) -> int | Later:
    if isinstance(data, Later):
        call = data.call
        return Later(lambda: len(call()))
    return len(data)


class FileInput(InputStream):
    """Reads an open file, which it releases."""

    __slots__ = ("file",)

    def __init__(self, world: World, file: OpenFile, parent: Resource | None = None) -> None:
        super().__init__(world, parent)
        self.file = file

    def take(self, length: int) -> bytes | None:
        """Try to read."""
        if not self.file.worth_trying(READ):
            return None
        buffer = bytearray(length)
        count = self.file.read_one(memoryview(buffer))
        if count == BLOCKED:
            return None
        return bytes(memoryview(buffer)[:count])

    def wait(self) -> None:
        """Park until the file can be read."""
        self.file.wait(READ, "read")

    def must_wait(self) -> bool:
        """Whether the file is read on the task alone."""
        return self.file.must_wait

    def pollable(self) -> Pollable:
        """Make a pollable of the file's level."""
        return FilePollable(self.world.owner, self.file, READ, self)

    def drop(self) -> None:
        """Release the file."""
        released(self.file)
