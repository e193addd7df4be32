"""A body between a guest and the host's end of a connection: bytes, a bound, and an end.

Whoever puts in waits while it is full, whoever takes out while it is empty; so a slow
reader slows the writer down, and nothing piles up.  Each side is told of the other's end.
"""

import errno

from coop.netpoll.contract import READ, WRITE
from coop.netpoll.openfile import BLOCKED
from coop.netpoll.polldesc import PollDesc
from coop.scheduler import Scheduler
from coop.wasip2.pollables import Pollable
from coop.wasip2.reading import InputStream
from coop.wasip2.world import World
from coop.wasip2.writing import OutputStream
from coop.wit import Resource

__all__ = ["Pipe", "PipeInput", "PipeOutput"]

ROOM = 64 << 10
"""Bytes it holds at most."""


class Pipe:
    """A bounded queue of bytes within the process.

    desc  -- its two levels: something to take, room to put
    error -- what it ended with, if not well
    """

    def __init__(self, what: str) -> None:
        self.desc = PollDesc(-1, what)
        self.desc.ready = WRITE
        self.error: OSError | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._is_ended = False
        self._is_abandoned = False

    @property
    def is_done(self) -> bool:
        """Whether nothing more will come out of it."""
        return self._is_ended and not self._chunks

    def put(self, data: bytes | memoryview) -> int:
        """Put in what there is room for and return how much that is, or BLOCKED.

        Raises: BrokenPipeError when nobody takes any more.
        """
        if self._is_abandoned or self._is_ended:
            raise BrokenPipeError(errno.EPIPE, "nobody reads the body any more")
        count = min(len(data), ROOM - self._size)
        if count <= 0:
            self.desc.block(WRITE)
            return BLOCKED
        self._chunks.append(bytes(data[:count]))
        self._size += count
        self.desc.notify(READ)
        return count

    def put_all(self, data: bytes) -> None:
        """Put all of it in, waiting for room."""
        view = memoryview(data)
        while view:
            count = self.put(view)
            if count == BLOCKED:
                self.desc.wait(WRITE, "write")
            else:
                view = view[count:]

    def take(self, length: int) -> bytes | None:
        """Take up to `length` bytes out; b"" is the end, None: nothing yet.  Raises: what it ended with."""
        if not self._chunks:
            if not self._is_ended:
                self.desc.block(READ)
                return None
            if self.error is not None:
                raise self.error
            return b""
        chunk = self._chunks[0]
        if len(chunk) <= length:
            del self._chunks[0]
        else:
            chunk, self._chunks[0] = chunk[:length], chunk[length:]
        self._size -= len(chunk)
        self.desc.notify(WRITE)
        return chunk

    def take_waiting(self, length: int = ROOM) -> bytes:
        """Take some bytes out, waiting for them; b"" is the end."""
        while (data := self.take(length)) is None:
            self.desc.wait(READ, "read")
        return data

    def wait_until_empty(self) -> None:
        """Park until all that was put in is taken out, or nothing more is taken."""
        while self._chunks and not self._is_abandoned:
            self.desc.block(WRITE)
            self.desc.wait(WRITE, "empty")

    def end(self, error: OSError | None = None) -> None:
        """Say that nothing more comes in."""
        if not self._is_ended:
            self._is_ended, self.error = True, error
            self.desc.notify(READ | WRITE)

    def abandon(self) -> None:
        """Say that nothing more is taken out."""
        if not self._is_abandoned:
            self._is_abandoned = True
            self._chunks.clear()
            self._size = 0
            self.desc.notify(READ | WRITE)


class PipePollable(Pollable):
    """Ready when a pipe is, in one direction."""

    __slots__ = ("_desc", "_mode")

    def __init__(self, owner: Scheduler, desc: PollDesc, mode: int, parent: Resource | None = None) -> None:
        super().__init__(owner, parent)
        self._desc = desc
        self._mode = mode

    def is_ready(self) -> bool:
        """Look."""
        return self._desc.ready & self._mode != 0

    def source(self) -> tuple[PollDesc, int] | None:
        """Wait for the level."""
        return self._desc, self._mode


class PipeInput(InputStream):
    """The guest's end of a body that it reads."""

    __slots__ = ("pipe",)

    def __init__(self, world: World, pipe: Pipe, parent: Resource | None = None) -> None:
        super().__init__(world, parent)
        self.pipe = pipe

    def take(self, length: int) -> bytes | None:
        """Take from the pipe."""
        return self.pipe.take(length)

    def wait(self) -> None:
        """Wait for the pipe."""
        self.pipe.desc.wait(READ, "read")

    def pollable(self) -> Pollable:
        """Make a pollable of the pipe's level."""
        return PipePollable(self.world.owner, self.pipe.desc, READ, self)


class PipeOutput(OutputStream):
    """The guest's end of a body that it writes."""

    __slots__ = ("pipe",)

    def __init__(self, world: World, pipe: Pipe, parent: Resource | None = None) -> None:
        super().__init__(world, parent)
        self.pipe = pipe

    def put(self, data: bytes | memoryview) -> int:
        """Put into the pipe."""
        return self.pipe.put(data)

    def wait(self) -> None:
        """Wait for room in the pipe."""
        self.pipe.desc.wait(WRITE, "write")

    def level(self) -> bool:
        """Whether there is room."""
        return self.pipe.desc.ready & WRITE != 0

    def pollable_source(self) -> tuple[PollDesc, int] | None:
        """Wait for room."""
        return self.pipe.desc, WRITE
