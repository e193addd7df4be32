"""Open files that the kernel keeps and a poller watches: sockets, listeners, pipes and terminals.

1. A descriptor that coop opened is non-blocking.  One that is lent to it is never
   changed: its flags belong to an open file that others share - a terminal's to the
   user's shell.  A lent connection is read and written with MSG_DONTWAIT instead.
   Accepting knows no such flag, so a lent listener is the exception: it is
   non-blocking until the last of those it was lent to gives it back.
2. A short transfer clears the bit only where it proves something: a read on a TCP connection,
   a write on any stream.  A terminal hands out a line at a time; so does a pipe whose writer
   is in packet mode, of which its reader is not told.  A Unix socket stops where a message
   came with descriptors or from another sender, and a TCP connection in front of urgent data.
3. With a hangup seen, the readable bit stays: data and the end of the stream
   arrive as one event, and the end must be found by a read.
4. On pipes, FIFOs and terminals a hangup is a hint that "would block" takes back: a
   new writer makes no new event over it.  On sockets it is for ever.
"""

import errno
import os
import socket
import stat
import struct
import threading
from collections.abc import Callable, Sequence

from coop.netpoll.contract import FAILED, HANGUP, READ, STALE_SHIFT, URGENT, WRITE, Poller
from coop.netpoll.openfile import BLOCKED, OpenFile
from coop.timers import Timers

STALE_READ = READ << STALE_SHIFT
STALE_WRITE = WRITE << STALE_SHIFT
NO_ROOM = ~(WRITE | STALE_WRITE)
"""What stays of a file's bits when a write was told that there is no room."""

_MORE = HANGUP | URGENT
"""What may follow bytes that were all there was, and is found by another read only."""

_DONTWAIT = socket.MSG_DONTWAIT

_LINGER_NOT = struct.pack("ii", 1, 0)
"""By which a close throws away what was not sent, and sends a reset."""


class SocketFile(OpenFile):
    """A connected stream socket, or a datagram socket.

    sock -- the socket; closed with the file
    lent -- somebody else has it too: neither its flags nor its connection are ours to change
    """

    __slots__ = (
        "_flags",
        "_is_stream",
        "_lent",
        "_proves",
        "_recv_into",
        "_resets",
        "_send",
        "_send_flags",
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
        self._recv_into: Callable[[memoryview], int] = sock.recv_into
        self._send = sock.send
        self._lent = lent
        self._flags = 0
        self._send_flags: int = socket.MSG_NOSIGNAL
        if lent:
            self._flags = _DONTWAIT
            self._send_flags |= _DONTWAIT
            self._recv_into = lambda buffer: sock.recv_into(buffer, 0, _DONTWAIT)
        else:
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
        try:
            count = self._recv_into(buffer)
        except BlockingIOError:
            return self._nothing_to_read()
        if count < len(buffer) and self._proves and not self.ready & _MORE:
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
            count = self.sock.recvmsg_into(buffers, 0, self._flags)[0]
        except BlockingIOError:
            return self._nothing_to_read()
        if count < sum(map(len, buffers)) and self._proves and not self.ready & _MORE:
            self.ready &= ~READ
        else:
            self.ready |= STALE_READ
        return count

    def try_recv(self, buffers: Sequence[memoryview], flags: int) -> tuple[int, int]:
        """Receive with MSG_ flags: bytes read or BLOCKED, and the flags of the message.

        MSG_PEEK and MSG_WAITALL prove nothing about what is left, so only "would block" clears the bit.
        """
        if not (self.ready & READ or self.worth_trying(READ)):
            return BLOCKED, 0
        try:
            count, _, message_flags, _ = self.sock.recvmsg_into(buffers, 0, flags | self._flags)
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

    def write_one(self, buffer: memoryview) -> int:
        if not (self.ready & WRITE or self.worth_trying(WRITE)):
            return BLOCKED
        try:
            count = self._send(buffer, self._send_flags)
        except BlockingIOError:
            self.ready &= NO_ROOM
            return BLOCKED
        if count < len(buffer):
            self.ready &= NO_ROOM
        else:
            self.ready |= STALE_WRITE
        return count

    def try_write(self, buffers: Sequence[memoryview]) -> int:
        if len(buffers) == 1:
            return self.write_one(buffers[0])
        if not (self.ready & WRITE or self.worth_trying(WRITE)):
            return BLOCKED
        try:
            count = self.sock.sendmsg(buffers, (), self._send_flags)
        except BlockingIOError:
            self.ready &= NO_ROOM
            return BLOCKED
        if count < sum(map(len, buffers)):
            self.ready &= NO_ROOM
        else:
            self.ready |= STALE_WRITE
        return count

    def shutdown(self, how: int) -> None:
        """Shut down a direction (socket.SHUT_RD, SHUT_WR, SHUT_RDWR).  Raises: OSError."""
        self.sock.shutdown(how)

    def reset_at_end(self) -> None:
        """Let the peer hear of a failure, and not of an end, once the file is closed.  Raises: OSError."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._resets = True

    def destroy(self) -> None:
        # A shutdown would tell the peer of an end before the reset comes.
        if self._is_stream and not self._resets and not self._lent:
            try:
                # Not left to close(): a dup elsewhere, say in a child process, would keep the peer waiting.
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # not connected any more: nothing is left to shut down
        self.sock.close()


class _LentListeners:
    """Which listeners are lent to coop, how often, and whether they were blocking before.

    One socket is one open file however many descriptors and guests use it, so its flag is
    restored by whoever gives it back last; guests may run in several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lent: dict[int, tuple[int, bool]] = {}

    def borrow(self, sock: socket.socket) -> int:
        """Note that `sock`, whose flags are not changed yet, is used once more; returns what names it."""
        name = os.fstat(sock.fileno()).st_ino
        with self._lock:
            users, was_blocking = self._lent.get(name) or (0, os.get_blocking(sock.fileno()))
            self._lent[name] = users + 1, was_blocking
        return name

    def give_back(self, name: int, sock: socket.socket) -> None:
        """Note that one user less is there, and restore the flag after the last one."""
        with self._lock:
            users, was_blocking = self._lent.pop(name)
            if users > 1:
                self._lent[name] = users - 1, was_blocking
            else:
                os.set_blocking(sock.fileno(), was_blocking)


_LENT = _LentListeners()


class ListenerFile(OpenFile):
    """A listening stream socket; `try_accept` takes the next connection.

    lent     -- somebody else has it too: its flags are restored
    on_close -- called when it is closed, for what goes with it
    """

    __slots__ = ("_lent", "_on_close", "sock")

    def __init__(
        self,
        sock: socket.socket,
        what: str = "",
        *,
        poller: Poller | None = None,
        timers: Timers | None = None,
        lent: bool = False,
        on_close: Callable[[], object] | None = None,
    ) -> None:
        self.sock = sock
        self._on_close = on_close
        super().__init__(
            sock.fileno(), stat.S_IFSOCK, what or f"listener {sock.fileno()}", poller=poller, timers=timers
        )
        self._lent = _LENT.borrow(sock) if lent else None
        sock.setblocking(False)

    @property
    def kind(self) -> str:
        return "network connection"

    def try_accept(self) -> socket.socket | None:
        """Accept a connection, non-blocking and closed on exec, or return None if none waits.

        A connection that its client took back meanwhile is skipped.
        """
        if not (self.ready & READ or self.worth_trying(READ)):
            return None
        while True:
            try:
                connection, _ = self.sock.accept()
            except BlockingIOError:
                self.ready &= ~READ
                return None
            except ConnectionAbortedError:
                continue
            connection.setblocking(False)
            self.ready |= STALE_READ
            return connection

    def try_read(self, buffers: Sequence[memoryview]) -> int:
        raise OSError(errno.ENOTCONN, f"read {self.what}: a listener has nothing to read")

    def try_write(self, buffers: Sequence[memoryview]) -> int:
        raise OSError(errno.ENOTCONN, f"write {self.what}: a listener takes no bytes")

    def destroy(self) -> None:
        if self._lent is not None:
            _LENT.give_back(self._lent, self.sock)
        try:
            self.sock.close()
        finally:
            if self._on_close is not None:
                self._on_close()


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
        try:
            count = os.readv(self.fd, buffers)
        except BlockingIOError:
            self.ready &= ~(READ | HANGUP | FAILED)
            return BLOCKED
        if count == 0:
            if self._await_writer and not self.ready & HANGUP:
                # The kernel says "end of file" while no writer has ever come, and HUP once one came and went.
                self.ready &= ~READ
                return BLOCKED
            self.ready |= STALE_READ
            return 0
        self._await_writer = False
        self.ready |= STALE_READ
        return count

    def try_write(self, buffers: Sequence[memoryview]) -> int:
        if not (self.ready & WRITE or self.worth_trying(WRITE)):
            return BLOCKED
        try:
            count = os.writev(self.fd, buffers)
        except BlockingIOError:
            self.ready &= NO_ROOM & ~FAILED
            return BLOCKED
        if self._is_pipe and count < sum(map(len, buffers)):
            self.ready &= NO_ROOM
        else:
            self.ready |= STALE_WRITE
        return count

    def write_one(self, buffer: memoryview) -> int:
        # As above: a line that is printed comes in one piece, and programs print many.
        if not (self.ready & WRITE or self.worth_trying(WRITE)):
            return BLOCKED
        try:
            count = os.write(self.fd, buffer)
        except BlockingIOError:
            self.ready &= NO_ROOM & ~FAILED
            return BLOCKED
        if self._is_pipe and count < len(buffer):
            self.ready &= NO_ROOM
        else:
            self.ready |= STALE_WRITE
        return count

    def destroy(self) -> None:
        os.close(self.fd)
