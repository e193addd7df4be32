"""Open files that listen.

A listener that coop opened is non-blocking.  One that is lent to it is so too, until the last of those it was
lent to gives it back: accepting knows no flag that would do for one call.
"""

import errno
import os
import socket
import stat
import threading
from collections.abc import Callable, Sequence

from coop.netpoll.contract import READ, STALE_READ, Poller
from coop.netpoll.openfile import OpenFile
from coop.netpoll.socksys import accept
from coop.timers import Timers


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

    __slots__ = ("_accepts", "_lent", "_on_close", "sock")

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
        self._accepts = sock.family, sock.type | socket.SOCK_NONBLOCK, sock.proto
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
                connection = self._accept()
            except ConnectionAbortedError:
                continue
            if connection is None:
                self.ready &= ~READ
            else:
                self.ready |= STALE_READ
            return connection

    def _accept(self) -> socket.socket | None:
        """Accept a connection, or return None if none waits.  Raises: OSError."""
        if self._lent is None:
            number = accept(self.fd)
            # With all three known, nothing is asked of the kernel that could fail and leave the number open.
            return socket.socket(*self._accepts, number) if number >= 0 else None
        # Who has it too may have let it block again: then this waits, and who is to connect needs the GIL.
        try:
            connection, _ = self.sock.accept()
        except BlockingIOError:
            return None
        connection.setblocking(False)
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
            self.fd = -1  # the number may soon be another file's
        finally:
            if self._on_close is not None:
                self._on_close()
