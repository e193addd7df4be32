"""Connections and listeners for host code, in plain sync style.

A call that would block parks its task.  One task may read and another write the
same connection at the same time; a second reader, or a second writer, gets `Busy`,
because what it would get is nobody's to say.  Any number may accept.

Deadlines are moments, set in seconds from now, and live: moving one moves the
call that waits.
"""

import os
import socket
from collections.abc import Iterator
from typing import Any, TypeVar

from coop.clock import to_ns
from coop.errors import Busy, Closed, CoopError
from coop.netpoll.contract import BOTH, READ, WRITE
from coop.netpoll.kernelfiles import ListenerFile, SocketFile
from coop.netpoll.openfile import BLOCKED
from coop.scheduler import Scheduler, scheduler
from coop.threads import run_in_thread

Address = tuple[str, int]
_S = TypeVar("_S", bound="_Socket")


class _Socket:
    """What connections and listeners share: a name for an open file, a deadline, an end."""

    def __init__(self, owner: Scheduler, file: SocketFile | ListenerFile) -> None:
        self._owner = owner
        self._file = file
        self._is_closed = False

    @property
    def openfile(self) -> SocketFile | ListenerFile:
        """The open file, for a guest that is to share it."""
        return self._file

    @property
    def address(self) -> Any:
        """The local address, as `socket.getsockname` gives it."""
        return self._file.sock.getsockname()

    def fileno(self) -> int:
        """Return the kernel's descriptor."""
        return self._file.sock.fileno()

    def set_deadline(self, seconds: float | None) -> None:
        """Let calls, those in progress too, fail with DeadlineExceeded `seconds` from now; None: never."""
        self._set_deadline(BOTH, seconds)

    def _set_deadline(self, mode: int, seconds: float | None) -> None:
        now_ns = self._owner.now_ns()
        when_ns = None if seconds is None else now_ns + to_ns(seconds)
        self._file.set_deadline(mode, when_ns, now_ns)

    def close(self) -> None:
        """Close; every call in progress raises Closed.  Closing twice raises Closed too."""
        if self._is_closed:
            raise Closed(f"close {self._file.what}: use of closed network connection")
        self._is_closed = True
        self._file.release()

    def _check_open(self, doing: str) -> None:
        if self._is_closed:
            raise Closed(f"{doing} {self._file.what}: use of closed network connection")

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
        """The other end's address, as `socket.getpeername` gives it."""
        return self._file.sock.getpeername()

    def recv(self, size: int = 65536) -> bytes:
        """Receive up to `size` bytes; b"" is the end of the stream, or asked for by a size of 0.

        Raises: Closed, DeadlineExceeded, Busy, OSError.
        """
        buffer = bytearray(size)
        count = self.recv_into(buffer)
        del buffer[count:]
        return bytes(buffer)

    def recv_into(self, buffer: bytearray | memoryview) -> int:
        """Receive into `buffer` and return the number of bytes; 0 is the end of the stream."""
        self._check_open("read")
        view = memoryview(buffer)
        if not view.nbytes:
            return 0
        if self._is_reading:
            raise Busy(f"read {self._file.what}: another task reads it already")
        self._is_reading = True
        try:
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
        self._check_open("write")
        if self._is_writing:
            raise Busy(f"write {self._file.what}: another task writes it already")
        self._is_writing = True
        view, sent = memoryview(data).cast("B"), 0
        try:
            while sent < len(view):
                self._file.require(WRITE, "write")
                count = self._file.try_write([view[sent:]])
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
    """A listening socket; iterating over it accepts until it is closed."""

    _file: ListenerFile

    def __repr__(self) -> str:
        return f"<Listener {self._file.what}{' closed' if self._is_closed else ''}>"

    def accept(self) -> Conn:
        """Accept the next connection.  Raises: Closed, DeadlineExceeded, OSError (say EMFILE)."""
        self._check_open("accept on")
        while True:
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
            yield connection


def parse_address(text: str) -> Address:
    """Split "HOST:PORT" ("[::1]:80" for IPv6).

    Raises: ValueError that says what is wrong with it.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"address {text!r}: an IPv6 address stands in brackets")
    if not colon or not host:
        raise ValueError(f"address {text!r}: HOST:PORT wanted")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"address {text!r}: the port is a number from 0 to 65535")
    return host, int(port)


def bind_listener(address: str | Address, backlog: int = 1024) -> socket.socket:
    """Make a listening TCP socket.  Raises: OSError that names the address."""
    host, port = parse_address(address) if isinstance(address, str) else address
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, where = found[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise OSError(error.errno, f"listen on {host}:{port}: {error.strerror}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"listen on {host}:{port}: {error.strerror}") from None
    return sock


def listen(address: str | Address, *, backlog: int = 1024) -> Listener:
    """Listen on a TCP address: "HOST:PORT" or a pair; port 0 is any free one (see `Listener.address`).

    Raises: OSError that names the address; ValueError for one that is none.
    """
    owner = scheduler()
    sock = bind_listener(address, backlog)
    file = ListenerFile(
        sock, f"listener {_show(sock.getsockname())}", poller=owner.poller, timers=owner.timers
    )
    return Listener(owner, file)


def connect(address: str | Address, *, timeout: float | None = None) -> Conn:
    """Connect to a TCP address; with a name, the addresses it stands for are tried in order.

    timeout -- seconds for the whole attempt
    Raises: OSError that names the address; DeadlineExceeded; ValueError.
    """
    owner = scheduler()
    host, port = parse_address(address) if isinstance(address, str) else address
    until_ns = None if timeout is None else owner.now_ns() + to_ns(timeout)
    error: OSError = CoopConnectError(f"connect to {host}:{port}: the name has no address")
    for family, kind, protocol, _, where in _resolve(host, port):
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        try:
            return _connect(owner, sock, where, until_ns)
        except OSError as found:
            sock.close()
            error = found
        except BaseException:
            sock.close()
            raise
    if isinstance(error, CoopError):
        raise error
    raise OSError(error.errno, f"connect to {host}:{port}: {error.strerror}") from None


class CoopConnectError(CoopError, OSError):
    """A connection that could not be tried at all."""


def _resolve(host: str, port: int) -> list[Any]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        # A name: the C library's resolver blocks, so it runs in a helper thread.
        return run_in_thread(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def _connect(owner: Scheduler, sock: socket.socket, where: Any, until_ns: int | None) -> Conn:
    what = f"connection to {_show(where)}"
    try:
        sock.connect(where)
    except BlockingIOError:
        pass
    # Registered only now: before connect() a socket reports a hangup.
    file = SocketFile(sock, what, poller=owner.poller, timers=owner.timers)
    try:
        file.ready = 0
        if until_ns is not None:
            file.set_deadline(BOTH, until_ns, owner.now_ns())
        file.wait(WRITE, "connect")
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        if until_ns is not None:
            file.set_deadline(BOTH, None, owner.now_ns())
    except BaseException:
        file.release()
        raise
    return Conn(owner, file)


def _conn(owner: Scheduler, sock: socket.socket) -> Conn:
    try:
        what = f"connection {_show(sock.getpeername())}"
    except OSError:
        what = "connection whose peer is gone"
    return Conn(owner, SocketFile(sock, what, poller=owner.poller, timers=owner.timers))


def _show(address: Any) -> str:
    if isinstance(address, tuple):
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{host}:{address[1]}"
    return str(address)
