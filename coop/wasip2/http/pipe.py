"""A body between a guest and the host's end of a connection: bytes, a bound, and an end.

Whoever puts in waits while it is full, whoever takes out while it is empty; so a slow
reader slows the writer down, and nothing piles up.  Each side is told of the other's end.
"""

import errno
from collections.abc import Callable

from coop.errors import GuestTrap
from coop.netpoll.contract import READ, WRITE
from coop.netpoll.openfile import BLOCKED
from coop.netpoll.polldesc import PollDesc
from coop.scheduler import Scheduler
from coop.wasip2.failure import failed
from coop.wasip2.pollables import Pollable
from coop.wasip2.reading import InputStream
from coop.wasip2.world import Account, World
from coop.wasip2.writing import OutputStream
from coop.wit import Resource

__all__ = ["Pipe", "PipeInput", "PipeOutput"]

ROOM = 64 << 10
"""Bytes it holds at most, but for one write that was permitted while it was not full."""

_ALL = 256 << 20
"""Bytes that a guest may have in all its bodies, sent or not; beyond that it ends."""


class Pipe:
    """A bounded queue of bytes within the process.

    desc       -- its two levels: something to take or the end, room to put or nobody to take
    account    -- of the guest whose bytes are in it; None: they came in
    error      -- what it ended with, if not well
    on_abandon -- called once when nothing more is taken out of it
    """

    def __init__(self, what: str, account: Account | None = None) -> None:
        self.account = account
        self.desc = PollDesc(-1, what)
        self.desc.ready = WRITE
        self.error: OSError | None = None
        self.on_abandon: Callable[[], object] | None = None
        self._bytes = bytearray()  # one buffer, or a peer that sends byte by byte would fill a list
        self._is_ended = False
        self._is_abandoned = False

    def __del__(self) -> None:
        """Give the memory back to the account, as it is to the system."""
        self._forget(len(self._bytes))

    def _forget(self, count: int) -> None:
        del self._bytes[:count]
        if self.account is not None:
            self.account.used -= count

    @property
    def room(self) -> int:
        """How many bytes more it would take."""
        return ROOM - len(self._bytes)

    @property
    def is_empty(self) -> bool:
        """Whether there are no bytes in it."""
        return not self._bytes

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody takes anything out of it any more."""
        return self._is_abandoned

    def put(self, data: bytes | memoryview, *, whole: bool = False) -> int:
        """Put in what there is room for and return how much that is, or BLOCKED.

        whole -- whether all of it goes in; for what was permitted while there was room
        Raises: BrokenPipeError when nobody takes any more.
        """
        if self._is_abandoned or self._is_ended:
            raise BrokenPipeError(errno.EPIPE, "nobody reads the body any more")
        count = len(data) if whole else min(len(data), ROOM - len(self._bytes))
        if count <= 0:
            self.desc.block(WRITE)
            return BLOCKED
        self._bytes += data[:count]
        if self.account is not None:
            self.account.used += count
        if len(self._bytes) >= ROOM:
            self.desc.block(WRITE)
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
        if not self._bytes:
            if self._is_abandoned:
                return b""
            if not self._is_ended:
                self.desc.block(READ)
                return None
            if self.error is not None:
                raise self.error
            return b""
        found = bytes(self._bytes[:length])
        self._forget(len(found))
        if not self._bytes and not self._is_ended:
            self.desc.block(READ)
        if len(self._bytes) < ROOM:
            self.desc.notify(WRITE)
        return found

    def take_waiting(self, length: int = ROOM) -> bytes:
        """Take some bytes out, waiting for them; b"" is the end."""
        while (data := self.take(length)) is None:
            self.desc.wait(READ, "read")
        return data

    def end(self, error: OSError | None = None) -> None:
        """Say that nothing more comes in."""
        if not self._is_ended:
            self._is_ended, self.error = True, error
            self.desc.notify(READ | WRITE)

    def abandon(self) -> None:
        """Say that nothing more is taken out."""
        if not self._is_abandoned:
            self._is_abandoned = True
            self._forget(len(self._bytes))
            self.desc.notify(READ | WRITE)
            if self.on_abandon is not None:
                self.on_abandon()


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

    def put(self, data: bytes | memoryview, *, whole: bool = False) -> int:
        """Put into the pipe.  Raises: GuestTrap if the guest has too much in all of them."""
        if self.world.backlog.used > _ALL:
            raise GuestTrap(f"bodies of more than {_ALL} bytes that nobody has read")
        return self.pipe.put(data, whole=whole)

    def check_write(self) -> int:
        """Permit what there is room for."""
        self._check()
        room = self.pipe.room
        self._permit = self.world.bytes_per_call(room, room) if room > 0 else int(self.is_writable())
        return self._permit

    def _write(self, data: bytes) -> None:
        """Put in all of what was permitted: no backlog that the end of the body could overtake."""
        if not data:
            return
        try:
            self.put(data, whole=True)
        except OSError as error:
            self._ended = BrokenPipeError(errno.EPIPE, "nobody reads the body any more")
            raise failed(error) from error

    def wait(self) -> None:
        """Wait for room in the pipe."""
        self.pipe.desc.wait(WRITE, "write")

    def level(self) -> bool:
        """Whether there is room."""
        return self.pipe.desc.ready & WRITE != 0

    def pollable_source(self) -> tuple[PollDesc, int] | None:
        """Wait for room."""
        return self.pipe.desc, WRITE
