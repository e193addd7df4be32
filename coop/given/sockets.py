"""Sockets that the host gives to a guest, as open files.

    an address               the guest's own: its close is the end of the socket
    a socket of the user     dup'ed, so that its owner may close it when he likes; lent, which
                             means that he gets it back as it was
    a connection, a listener of coop   shared with host code; see `coop.net`

What cannot be given is told by its place: "listen[0]: ...", "connections[2]: ...".
"""

import errno
import os
import socket
import stat
import sys
from typing import Any, Protocol, runtime_checkable

from coop.given.stream import Given
from coop.net import Conn, Listener, connect, listen
from coop.net.address import shown, spelled
from coop.netpoll.kernelfiles import SocketFile
from coop.netpoll.listenerfile import ListenerFile
from coop.netpoll.openfile import OpenFile
from coop.scheduler import Scheduler
from coop.slips import check_lists


@runtime_checkable
class Lendable(Protocol):
    """A connection or listener of host code, which a guest may be given."""

    def lend(self, owner: Scheduler) -> OpenFile:
        """Return an open file for a guest of `owner`, which releases it."""
        ...


_LISTENS = "an address, a listening socket or a coop.Listener"
_CONNECTS = "an address, a connected socket or a coop.Conn"


def checked_sockets(listeners: Any, connections: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return what a guest is to be given, before anything is opened.

    Raises: TypeError that names the one that cannot be given.
    """
    check_lists(listen=listeners, connections=connections)
    for option, given, other, wanted in (
        ("listen", listeners, Conn, _LISTENS),
        ("connections", connections, Listener, _CONNECTS),
    ):
        for place, source in enumerate(given):
            is_socket = isinstance(source, (socket.socket, Lendable)) and not isinstance(source, other)
            if not is_socket and not isinstance(source, (str, tuple)):
                raise TypeError(f"{option}[{place}]: {wanted} wanted, not {type(source).__name__}")
            _refuse_ssl(source, f"{option}[{place}]")
    return tuple(listeners), tuple(connections)


def open_listener(owner: Scheduler, source: Any, what: str) -> tuple[Given, Any]:
    """Open an address, a listening socket or a `coop.Listener`; return its address too.

    The listener says NONBLOCK: Go's runtime blocks its whole module on one that does not.
    Raises: OSError; ValueError for an address that is none, or a socket that does not listen.
    """
    file: OpenFile
    if isinstance(source, socket.socket):
        _require_open(source, what)
        if source.type != socket.SOCK_STREAM or not _listens(source):
            raise ValueError(f"{what}: the socket is no stream socket that listens")
        sock = _dup(source)
        try:
            address = spelled(sock.getsockname())
            file = ListenerFile(
                sock, f"listener {shown(address)}", poller=owner.poller, timers=owner.timers, lent=True
            )
        except BaseException:
            sock.close()
            raise
    elif isinstance(source, Lendable):
        file = source.lend(owner)
        try:
            address = getattr(source, "address", None)
        except BaseException:
            file.release()
            raise
    else:
        listener = listen(source)
        try:
            file, address = listener.openfile, listener.address
        except BaseException:
            listener.close()
            raise
    file.nonblock = True
    return Given(file, stat.S_IFSOCK, listens=True), address


def open_connection(owner: Scheduler, source: Any, what: str) -> Given:
    """Open an address to connect to, a socket or a `coop.Conn`.

    A socket may move datagrams, and need not be connected; the guest's calls tell.
    Raises: OSError; ValueError for an address that is none, or a socket that listens; DeadlineExceeded.
    """
    file: OpenFile
    is_datagram = False
    if isinstance(source, socket.socket):
        _require_open(source, what)
        _refuse_ssl(source, what)
        if _listens(source):
            raise ValueError(f"{what}: the socket listens (listen= takes it)")
        if source.type not in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
            raise ValueError(f"{what}: a socket for streams or datagrams wanted")
        is_datagram = source.type != socket.SOCK_STREAM
        sock = _dup(source)
        try:
            file = SocketFile(sock, poller=owner.poller, timers=owner.timers, lent=True)
        except BaseException:
            sock.close()
            raise
    elif isinstance(source, Listener):
        raise TypeError(f"{what}: a coop.Listener is no connection (listen= takes it)")
    elif isinstance(source, Lendable):
        file = source.lend(owner)
    else:
        file = connect(source).openfile
    return Given(file, stat.S_IFSOCK, is_datagram=is_datagram)


def open_inherited(owner: Scheduler, sock: socket.socket, what: str) -> Given:
    """Open a socket that is a standard stream of the process.

    It may listen: that is how inetd starts a server that shall accept by itself.
    """
    if _listens(sock):
        return open_listener(owner, sock, what)[0]
    return open_connection(owner, sock, what)


def _require_open(source: socket.socket, what: str) -> None:
    if source.fileno() < 0:
        raise OSError(errno.EBADF, f"{what}: the socket is closed")


def _listens(source: socket.socket) -> bool:
    return bool(source.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _refuse_ssl(source: Any, what: str) -> None:
    """Refuse a socket whose bytes go through Python: a guest would see them encrypted."""
    ssl = sys.modules.get("ssl")  # where it was not imported, there is no such socket
    if ssl is not None and isinstance(source, ssl.SSLSocket):
        raise TypeError(f"{what}: an SSLSocket cannot be given to a guest")


def _dup(source: socket.socket) -> socket.socket:
    """Duplicate a socket without its time-out, which is Python's alone, and without touching its flags."""
    blocking = os.get_blocking(source.fileno())
    # With all three known, nothing is asked of the kernel that could fail and leave the number open.
    sock = socket.socket(source.family, source.type, source.proto, os.dup(source.fileno()))
    if sock.gettimeout() is not None:
        # A default time-out is set for the process: Python would wait here as long as that.
        sock.settimeout(None)
        os.set_blocking(sock.fileno(), blocking)
    return sock
