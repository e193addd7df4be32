"""The open files of a TCP socket, and the two streams of a connection, which a shutdown ends alone."""

import socket
import stat
from contextlib import suppress

from coop.netpoll.contract import READ
from coop.netpoll.kernelfiles import SocketFile
from coop.netpoll.openfile import OpenFile
from coop.wasip2.failure import CLOSED
from coop.wasip2.reading import FileInput
from coop.wasip2.world import World
from coop.wasip2.writing import FileOutput
from coop.wit import Err, Resource

__all__ = ["Connection", "Idle", "TcpInput", "TcpOutput"]


class Idle(OpenFile):
    """A socket that neither connects nor listens; no poller watches it, which would only hear of a hangup."""

    __slots__ = ("_sock",)

    def __init__(self, world: World, sock: socket.socket) -> None:
        self._sock: socket.socket | None = sock
        super().__init__(sock.fileno(), stat.S_IFSOCK, f"socket {sock.fileno()}")
        world.files.add(self)

    def give_way(self) -> None:
        """End without closing the socket, which another file has now."""
        self._sock = None
        self.release()

    def destroy(self) -> None:
        """Close the socket."""
        if self._sock is not None:
            self._sock.close()


class Connection(SocketFile):
    """A connection: the socket and both streams hold it, and the last one closes it."""

    __slots__ = ()

    def __init__(self, world: World, sock: socket.socket, what: str) -> None:
        super().__init__(sock, what, poller=world.owner.poller, timers=world.owner.timers)
        world.files.add(self)

    def shut(self, how: int) -> None:
        """Shut down a direction of a connection that may be gone already."""
        try:
            self.shutdown(how)
        except OSError:
            pass


class TcpInput(FileInput):
    """What the peer sends."""

    __slots__ = ("_connection", "_is_shut")

    def __init__(self, world: World, file: Connection, parent: Resource) -> None:
        super().__init__(world, file, parent)
        self._connection = file
        self._is_shut = False

    def end(self) -> None:
        """Take nothing more, not even what has come."""
        if not self._is_shut:
            self._is_shut = True
            self._connection.shut(socket.SHUT_RD)
            # The kernel's event comes when the poller has run, and a guest may ask before.
            self._connection.notify(READ)

    def take(self, length: int) -> bytes | None:
        """Try to read."""
        return b"" if self._is_shut else super().take(length)


class TcpOutput(FileOutput):
    """What is sent to the peer."""

    __slots__ = ("_connection", "_is_shut")

    def __init__(self, world: World, file: Connection, parent: Resource) -> None:
        super().__init__(world, file, parent)
        self._connection = file
        self._is_shut = False

    def end(self) -> None:
        """Take nothing more; the peer sees the end once everything is sent."""
        if not self._is_shut:
            self._is_shut = True
            if self._drainer is None:
                self._connection.shut(socket.SHUT_WR)

    def give_up(self) -> None:
        """Reset the connection when all of it is closed."""
        with suppress(OSError):
            self._connection.reset_at_end()

    def is_writable(self) -> bool:
        """Whether there is a permit, or the end."""
        return self._is_shut or super().is_writable()

    def _check(self) -> None:
        if self._is_shut:
            raise Err(CLOSED)
        super()._check()

    def _drain(self) -> None:
        super()._drain()
        if self._is_shut:
            self._connection.shut(socket.SHUT_WR)
