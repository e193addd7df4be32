"""Open files that the kernel keeps and a poller watches, and that move bytes: sockets, pipes and terminals.

1. A descriptor that coop opened is non-blocking.  One that is lent to it is never
   changed: its flags belong to an open file that others share - a terminal's to the
   user's shell.  Sockets, lent or not, are read and written with MSG_DONTWAIT.
2. A short transfer clears the bit only where it proves something: a read on a TCP connection,
   a write on any stream.  A terminal hands out a line at a time; so does a pipe whose writer
   is in packet mode, of which its reader is not told.  A Unix socket stops where a message
   came with descriptors or from another sender, and a TCP connection in front of urgent data.
3. With a hangup seen, the readable bit stays: data and the end of the stream
   arrive as one event, and the end must be found by a read.
4. On pipes, FIFOs and terminals a hangup is a hint that "would block" takes back: a
   new writer makes no new event over it.  On sockets it is for ever.
"""

import os
import socket
import stat
import struct
from collections.abc import Sequence

from coop.netpoll.contract import FAILED, HANGUP, READ, STALE_READ, STALE_WRITE, URGENT, WRITE, Poller
from coop.netpoll.openfile import BLOCKED, GuestMemory, OpenFile
from coop.netpoll.pipesys import read, write
from coop.netpoll.socksys import (
    MOST_COPIED,
    MOST_HELD,
    address_of,
    close,
    hang_up,
    receive,
    send,
    shut_down,
    was_interrupted,
)
from coop.timers import Timers

NO_ROOM = ~(WRITE | STALE_WRITE)
"""What stays of a file's bits when a write was told that there is no room."""

_MORE = HANGUP | URGENT
"""What may follow bytes that were all there was, and is found by another read only."""

_DONTWAIT = socket.MSG_DONTWAIT
_SEND_FLAGS = _DONTWAIT | socket.MSG_NOSIGNAL

_LINGER_NOT = struct.pack("ii", 1, 0)
"""By which a close throws away what was not sent, and sends a reset."""


class SocketFile(OpenFile):
    """A connected stream socket, or a datagram socket.

    sock -- the socket; closed with the file
    lent -- somebody else has it too: neither its flags nor its connection are ours to change
    """

    __slots__ = (
        "_is_stream",
        "_lent",
        "_proves",
        "_resets",
        "sock",
    )

    def __init__(
        self,
        sock: socket.socket,
        what: str = "",
        *,
        poller: Poller | None = None,
        timers: Timers | None = None,
        lent: bool = False,
    ) -> None:
        self.sock = sock
        self._resets = False
        self._is_stream = sock.type == socket.SOCK_STREAM
        self._proves = self._is_stream and sock.family != socket.AF_UNIX
        self._lent = lent
        if not lent and sock.gettimeout() != 0:
            sock.setblocking(False)
        super().__init__(
            sock.fileno(), stat.S_IFSOCK, what or f"socket {sock.fileno()}", poller=poller, timers=timers
        )

    @property
    def kind(self) -> str:
        return "network connection"

    @property
    def is_stream(self) -> bool:
        """Whether it is a byte stream; otherwise it moves datagrams."""
        return self._is_stream

    def read_one(self, buffer: memoryview) -> int:
        length = buffer.nbytes
        if 0 < length <= MOST_HELD:
            return self._receive(address_of(buffer), length)
        try:
            count = self.sock.recv_into(buffer, 0, _DONTWAIT)
        except BlockingIOError:
            return self._nothing_to_read()
        return self._has_read(count, length)

    def read_at(self, memory: GuestMemory, at: int, length: int) -> int:
        if length > MOST_HELD:
            return self.read_one(memory.view[at : at + length])
        return self._receive(memory.base + at, length)

    def _receive(self, address: int, length: int) -> int:
        """Receive up to `length` bytes, and keep the GIL."""
        count: int = receive(self.fd, address, length, _DONTWAIT)
        if count < 0:
            return self._receive(address, length) if was_interrupted() else self._nothing_to_read()
        # As `_has_read` does; it would be one more call for each request.
        if count < length and self._proves and not self.ready & _MORE:
            self.ready &= ~READ
        else:
            self.ready |= STALE_READ
        return count

    def try_read(self, buffers: Sequence[memoryview]) -> int:
        if not (self.ready & READ or self.worth_trying(READ)):
            return BLOCKED
        if len(buffers) == 1:
            return self.read_one(buffers[0])
        try:
            count = self.sock.recvmsg_into(buffers, 0, _DONTWAIT)[0]
        except BlockingIOError:
            return self._nothing_to_read()
        return self._has_read(count, sum(map(len, buffers)))

    def try_recv(self, buffers: Sequence[memoryview], flags: int) -> tuple[int, int]:
        """Receive with MSG_ flags: bytes read or BLOCKED, and the flags of the message.

        MSG_PEEK and MSG_WAITALL prove nothing about what is left, so only "would block" clears the bit.
        """
        if not (self.ready & READ or self.worth_trying(READ)):
            return BLOCKED, 0
        try:
            count, _, message_flags, _ = self.sock.recvmsg_into(buffers, 0, flags | _DONTWAIT)
        except BlockingIOError:
            return self._nothing_to_read(), 0
        self.ready |= STALE_READ
        return count, message_flags

    def _nothing_to_read(self) -> int:
        """Note that a read would block, and return BLOCKED.

        Where receiving was shut down, Linux tells who waits for a datagram of the end, and who does not that
        it would block; but it calls the socket readable, so that to wait for one would be to spin.
        """
        self.ready &= ~READ
        return BLOCKED if self._is_stream or not self.is_left() else 0

    def _has_read(self, count: int, wanted: int) -> int:
        """Note what a read of so many bytes of those that were wanted says about the next one."""
        if count < wanted and self._proves and not self.ready & _MORE:
            self.ready &= ~READ
        else:
            self.ready |= STALE_READ
        return count

    def write_one(self, buffer: memoryview) -> int:
        length = buffer.nbytes
        if 0 < length <= MOST_COPIED:
            return self._transmit(bytes(buffer), length)
        if not (self.ready & WRITE or self.worth_trying(WRITE)):
            return BLOCKED
        try:
            count = self.sock.send(buffer, _SEND_FLAGS)
        except BlockingIOError:
            self.ready &= NO_ROOM
            return BLOCKED
        return self._has_written(count, length)

    def write_at(self, memory: GuestMemory, at: int, length: int) -> int:
        if length > MOST_HELD:
            return self.write_one(memory.view[at : at + length])
        return self._transmit(memory.base + at, length)

    def _transmit(self, where: int | bytes, length: int) -> int:
        """Send up to `length` bytes, and keep the GIL."""
        if not (self.ready & WRITE or self.worth_trying(WRITE)):
            return BLOCKED
        count: int = send(self.fd, where, length, _SEND_FLAGS)
        if count == length:
            self.ready |= STALE_WRITE
            return count
        if count < 0 and was_interrupted():
            return self._transmit(where, length)
        self.ready &= NO_ROOM
        return count  # which may be BLOCKED

    def _has_written(self, count: int, wanted: int) -> int:
        """Note what a write that took so many bytes of those that were wanted says about the next one."""
        if count < wanted:
            self.ready &= NO_ROOM
        else:
            self.ready |= STALE_WRITE
        return count

    def try_write(self, buffers: Sequence[memoryview]) -> int:
        if len(buffers) == 1:
            return self.write_one(buffers[0])
        length = sum(map(len, buffers))
        if 0 < length <= MOST_COPIED:
            return self._transmit(b"".join(buffers), length)
        if not (self.ready & WRITE or self.worth_trying(WRITE)):
            return BLOCKED
        try:
            count = self.sock.sendmsg(buffers, (), _SEND_FLAGS)
        except BlockingIOError:
            self.ready &= NO_ROOM
            return BLOCKED
        return self._has_written(count, length)

    def shutdown(self, how: int) -> None:
        """Shut down a direction (socket.SHUT_RD, SHUT_WR, SHUT_RDWR).  Raises: OSError."""
        shut_down(self.fd, how)

    def reset_at_end(self) -> None:
        """Let the peer hear of a failure, and not of an end, once the file is closed.  Raises: OSError."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._resets = True

    def destroy(self) -> None:
        # A shutdown would tell the peer of an end before the reset comes.
        if self._is_stream and not self._resets and not self._lent:
            # Not left to close(): a dup elsewhere, say in a child process, would keep the peer waiting.
            hang_up(self.fd)
        self.fd = -1  # the number may soon be another file's
        if self._lent or self._lingers():
            self.sock.close()
        else:
            close(self.sock.detach())

    def _lingers(self) -> bool:
        """Whether a close may wait until all is sent; what a listener accepts does as the listener."""
        try:
            return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER) != 0
        except OSError:
            return True  # nobody can tell


class PipeFile(OpenFile):
    """A pipe, FIFO, terminal or other device, opened non-blocking by coop.

    await_writer -- a FIFO opened for reading before its first writer came: an empty read
                    means "nothing yet", not the end, until somebody has written
    """

    __slots__ = ("_await_writer", "_is_pipe")

    def __init__(
        self,
        fd: int,
        mode: int,
        what: str = "",
        *,
        poller: Poller | None = None,
        timers: Timers | None = None,
        await_writer: bool = False,
    ) -> None:
        self._is_pipe = stat.S_ISFIFO(mode)
        self._await_writer = await_writer
        super().__init__(fd, mode, what, poller=poller, timers=timers)

    def try_read(self, buffers: Sequence[memoryview]) -> int:
        if not (self.ready & READ or self.worth_trying(READ)):
            return BLOCKED
        if len(buffers) == 1:
            return self.read_one(buffers[0])
        try:
            count = os.readv(self.fd, buffers)
        except BlockingIOError:
            return self._nothing_to_read()
        return self._has_read(count)

    def read_one(self, buffer: memoryview) -> int:
        length = buffer.nbytes
        if self._is_pipe and 0 < length <= MOST_HELD:
            return self._receive(address_of(buffer), length)
        try:
            count = os.readv(self.fd, (buffer,))
        except BlockingIOError:
            return self._nothing_to_read()
        return self._has_read(count)

    def read_at(self, memory: GuestMemory, at: int, length: int) -> int:
        if length > MOST_HELD or not self._is_pipe:
            return self.read_one(memory.view[at : at + length])
        return self._receive(memory.base + at, length)

    def _receive(self, address: int, length: int) -> int:
        """Read up to `length` bytes of a pipe, and keep the GIL."""
        count: int = read(self.fd, address, length)
        if count > 0:  # as `_has_read` does
            self._await_writer = False
            self.ready |= STALE_READ
            return count
        if count == 0:
            return self._has_read(count)
        return self._receive(address, length) if was_interrupted() else self._nothing_to_read()

    def _nothing_to_read(self) -> int:
        """Note that a read would block, and return BLOCKED."""
        self.ready &= ~(READ | HANGUP | FAILED)
        return BLOCKED

    def _has_read(self, count: int) -> int:
        """Note what a read of so many bytes says about the next one; return them, or BLOCKED for no end."""
        if count:
            self._await_writer = False
        elif self._await_writer and not self.ready & HANGUP:
            # The kernel says "end of file" while no writer has ever come, and HUP once one came and went.
            self.ready &= ~READ
            return BLOCKED
        self.ready |= STALE_READ
        return count

    def try_write(self, buffers: Sequence[memoryview]) -> int:
        if len(buffers) == 1:
            return self.write_one(buffers[0])
        length = sum(map(len, buffers))
        if self._is_pipe and 0 < length <= MOST_COPIED:
            return self._transmit(b"".join(buffers), length)
        if not (self.ready & WRITE or self.worth_trying(WRITE)):
            return BLOCKED
        try:
            count = os.writev(self.fd, buffers)
        except BlockingIOError:
            return self._no_room()
        return self._has_written(count, length)

    def write_one(self, buffer: memoryview) -> int:
        length = buffer.nbytes
        if self._is_pipe and 0 < length <= MOST_COPIED:
            return self._transmit(bytes(buffer), length)
        # Cheaper than `writev` of one: programs print many lines, each of which comes in one piece.
        if not (self.ready & WRITE or self.worth_trying(WRITE)):
            return BLOCKED
        try:
            count = os.write(self.fd, buffer)
        except BlockingIOError:
            return self._no_room()
        return self._has_written(count, length)

    def write_at(self, memory: GuestMemory, at: int, length: int) -> int:
        if length > MOST_HELD or not self._is_pipe:
            return self.write_one(memory.view[at : at + length])
        return self._transmit(memory.base + at, length)

    def _transmit(self, where: int | bytes, length: int) -> int:
        """Write up to `length` bytes to a pipe, and keep the GIL."""
        if not (self.ready & WRITE or self.worth_trying(WRITE)):
            return BLOCKED
        count: int = write(self.fd, where, length)
        if count == length:  # as `_has_written` does
            self.ready |= STALE_WRITE
            return count
        if count >= 0:
            return self._has_written(count, length)
        return self._transmit(where, length) if was_interrupted() else self._no_room()

    def _no_room(self) -> int:
        """Note that a write would block, and return BLOCKED."""
        self.ready &= NO_ROOM & ~FAILED
        return BLOCKED

    def _has_written(self, count: int, wanted: int) -> int:
        """Note what a write that took so many bytes of those that were wanted says about the next one."""
        if self._is_pipe and count < wanted:
            self.ready &= NO_ROOM
        else:
            self.ready |= STALE_WRITE
        return count

    def destroy(self) -> None:
        os.close(self.fd)
