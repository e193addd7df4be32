"""Connections and listeners for host code, in plain sync style.

A call that would block parks its task, and one that would not yields now and then: the task
of a peer that never pauses would never park.  One task may read and another write the
same connection at the same time; a second reader, or a second writer, gets `Busy`,
because what it would get is nobody's to say.  Any number may accept.

Deadlines are moments, set in seconds from now, and live: moving one moves the
call that waits.

A guest may be given either.  A connection is the guest's alone while it has it: reading
and writing raise `Busy` here, and go on when the guest has closed it or ended.  Its
deadlines hold for the guest's calls that wait, but not for what it polls.  A listener is shared:
whoever accepts first gets the client.
"""

import errno
import os
import socket
from collections.abc import Iterator
from typing import Any, TypeVar

from coop.clock import to_ns
from coop.errors import Busy, Closed, CoopError, WrongThread
from coop.logs import Log
from coop.net.address import shown, spelled
from coop.netpoll.contract import BOTH, READ, WRITE
from coop.netpoll.kernelfiles import SocketFile
from coop.netpoll.listenerfile import ListenerFile
from coop.netpoll.openfile import BLOCKED
from coop.scheduler import Scheduler
from coop.slips import Unique
from coop.stint import Stint
from coop.task import current_or_none

_S = TypeVar("_S", bound="_Socket")

_SCARCE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""What a listener says while there is no room for one connection more."""

_PAUSE_NS = 100_000_000
"""How long nobody is accepted after that: room comes back as others leave."""

log = Log("coop.net")


class _Socket(Unique):
    """What connections and listeners share: a name for an open file, a deadline, an end."""

    def __init__(self, owner: Scheduler, file: SocketFile | ListenerFile) -> None:
        self._owner = owner
        self._file = file
        self._is_closed = False
        self._stint = Stint(owner)

    @property
    def openfile(self) -> SocketFile | ListenerFile:
        """The open file, for coop alone: guests are given it, and TLS and HTTP move bytes by it."""
        return self._file

    @property
    def address(self) -> Any:
        """The local address: a tuple as `socket.getsockname` gives it, or "unix:..."."""
        return spelled(self._file.sock.getsockname())

    def fileno(self) -> int:
        """Return the kernel's descriptor."""
        return self._file.sock.fileno()

    def set_deadline(self, seconds: float | None) -> None:
        """Let calls, those in progress too, fail with DeadlineExceeded `seconds` from now; None: never."""
        self._set_deadline(BOTH, seconds)

    def _set_deadline(self, mode: int, seconds: float | None) -> None:
        self._owner.check_owner(f"set a deadline on {self._file.what}")
        now_ns = self._owner.now_ns()
        when_ns = None if seconds is None else now_ns + to_ns(seconds)
        self._file.set_deadline(mode, when_ns, now_ns)

    def close(self) -> None:
        """Close; every call in progress raises Closed.  Closing twice raises Closed too.

        In a process that was forked meanwhile only its own descriptor is closed.
        Raises: Closed; WrongThread from another thread.
        """
        self._check_open("close")
        owner, file = self._owner, self._file
        if owner.is_copy:
            # To shut the connection down, or to take it from the poller, would reach the parent's as well.
            self._is_closed = True
            file.sock.close()
            file.fd = -1  # the number may soon be another file's, and what writes TLS has this one
            return
        owner.check_owner(f"close {file.what}")
        self._is_closed = True
        file.release()

    def _check_open(self, doing: str) -> None:
        if self._is_closed:
            raise Closed(f"{doing} {self._file.what}: use of closed network connection")

    def _check_run(self, doing: str) -> None:
        """Refuse a task of another run: nothing there would ever wake it, and here it would be resumed."""
        task = current_or_none()
        if task is None or task.owner is not self._owner:
            self._owner.check_owner(f"{doing} {self._file.what}")
            if task is not None:
                raise WrongThread(f"{doing} {self._file.what}: it belongs to another run")

    def _check_lendable(self, owner: Scheduler) -> None:
        self._check_open("give away")
        if owner is not self._owner:
            raise CoopError(f"give {self._file.what} to a guest: it belongs to another run")

    def __enter__(self: _S) -> _S:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_closed:
            self.close()


class Conn(_Socket):
    """A connected stream."""

    _file: SocketFile

    def __init__(self, owner: Scheduler, file: SocketFile) -> None:
        super().__init__(owner, file)
        self._is_reading = self._is_writing = False

    def __repr__(self) -> str:
        return f"<Conn {self._file.what}{' closed' if self._is_closed else ''}>"

    @property
    def peer(self) -> Any:
        """The other end's address: as `socket.getpeername` gives it, "unix:...", or "" if it has no name."""
        return spelled(self._file.sock.getpeername())

    def lend(self, owner: Scheduler) -> SocketFile:
        """Return the open file under one more name, for a guest of `owner`, which releases it.

        Raises: Closed; Busy while a task reads or writes; CoopError for a connection of another run.
        """
        self._check_lendable(owner)
        if self._is_reading or self._is_writing:
            raise Busy(f"give {self._file.what} to a guest: a task uses it")
        if self._file.refs == 1:
            self._file.nonblock = False  # what an earlier guest set is not for the next one
        self._file.retain()
        return self._file

    def _check_free(self, doing: str) -> None:
        self._check_open(doing)
        self._check_run(doing)
        if self._file.refs > 1:  # no name but ours and those of guests
            raise Busy(f"{doing} {self._file.what}: a guest has it")

    def recv(self, size: int = 65536) -> bytes:
        """Receive up to `size` bytes; b"" is the end of the stream, or asked for by a size of 0.

        Raises: Closed, DeadlineExceeded, Busy, OSError.
        """
        buffer = bytearray(size)
        count = self.recv_into(buffer)
        del buffer[count:]
        return bytes(buffer)

    def recv_into(self, buffer: bytearray | memoryview) -> int:
        """Receive into `buffer` and return the number of bytes; 0 is the end of the stream.

        Raises: as `recv`.
        """
        self._check_free("read")
        # Released, not dropped: a profiler, which looks at frames, would keep the buffer from being resized.
        with memoryview(buffer) as view:
            if not view.nbytes:
                return 0
            if self._is_reading:
                raise Busy(f"read {self._file.what}: another task reads it already")
            self._is_reading = True
            try:
                self._stint.step()
                while True:
                    self._file.require(READ, "read")
                    count = self._file.try_read([view])
                    if count != BLOCKED:
                        return count
                    self._file.wait(READ, "read")
            finally:
                self._is_reading = False

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`.

        Raises: Closed, DeadlineExceeded, Busy, OSError; the error's `sent` says how many bytes went out.
        """
        self._check_free("write")
        if self._is_writing:
            raise Busy(f"write {self._file.what}: another task writes it already")
        self._is_writing = True
        sent = 0
        try:
            with memoryview(data) as given, given.cast("B") as view:
                while sent < len(view):
                    self._stint.step()
                    self._file.require(WRITE, "write")
                    with view[sent:] as rest:
                        count = self._file.try_write([rest])
                    if count == BLOCKED:
                        self._file.wait(WRITE, "write")
                    else:
                        sent += count
        except OSError as error:
            error.sent = sent  # type: ignore[attr-defined]
            raise
        finally:
            self._is_writing = False

    def shutdown(self, how: int = socket.SHUT_WR) -> None:
        """Shut down one direction; without an argument the sending one, so that the peer reads the end."""
        self._check_open("shut down")
        self._file.shutdown(how)

    def set_read_deadline(self, seconds: float | None) -> None:
        """Set the deadline of reads alone."""
        self._set_deadline(READ, seconds)

    def set_write_deadline(self, seconds: float | None) -> None:
        """Set the deadline of writes alone."""
        self._set_deadline(WRITE, seconds)


class Listener(_Socket):
    """A listening socket; iterating over it accepts until it is closed.

    While the process has no descriptor for one client more, clients wait: they could all come at once,
    and a server must not end by that.  `accept` itself raises the OSError.
    """

    _file: ListenerFile

    def __repr__(self) -> str:
        return f"<Listener {self._file.what}{' closed' if self._is_closed else ''}>"

    def lend(self, owner: Scheduler) -> ListenerFile:
        """Return an open file of its own for a guest of `owner`, which releases it.

        So the guest's NONBLOCK is not that of another guest, and the host's deadlines are not the guest's.
        What is closed with this listener stays until the last of them has closed.
        Raises: Closed; CoopError for a listener of another run; OSError.
        """
        self._check_lendable(owner)
        shared = self._file
        old = shared.sock
        sock = socket.socket(old.family, old.type, old.proto, os.dup(old.fileno()))
        try:
            file = ListenerFile(
                sock, shared.what, poller=owner.poller, timers=owner.timers, on_close=shared.release
            )
        except BaseException:
            sock.close()
            raise
        shared.retain()
        return file

    def close(self) -> None:
        """Close as a connection does; guests go on with theirs."""
        super().close()
        if self._file.refs and not self._owner.is_copy:
            self._file.notify(READ)  # guests keep the file open: who accepts looks, and hears of it

    def accept(self) -> Conn:
        """Accept the next connection.  Raises: Closed, DeadlineExceeded, OSError (say EMFILE)."""
        self._check_run("accept on")
        self._stint.step()
        while True:
            self._check_open("accept on")
            self._file.require(READ, "accept on")
            connection = self._file.try_accept()
            if connection is not None:
                return _conn(self._owner, connection)
            self._file.wait(READ, "accept on")

    def __iter__(self) -> Iterator[Conn]:
        while not self._is_closed:
            try:
                connection = self.accept()
            except Closed:
                return
            except OSError as error:
                if error.errno not in _SCARCE:
                    raise
                log.warning("client not accepted", error=str(error))
                self._owner.sleep_ns(_PAUSE_NS)
                continue
            yield connection


def _conn(owner: Scheduler, sock: socket.socket) -> Conn:
    try:
        # A client of a Unix socket rarely has a name; then the listener's is what tells it apart.
        what = f"connection {shown(spelled(sock.getpeername() or sock.getsockname()))}"
    except OSError:
        what = "connection whose peer is gone"
    return Conn(owner, SocketFile(sock, what, poller=owner.poller, timers=owner.timers))
