"""Sockets that the host gives to a guest, as descriptors.

A socket object that a user hands in is dup'ed, so that its owner may close it when he
likes; it is lent, which means that he gets it back as it was.
"""

import os
import socket
from typing import Any, Protocol, runtime_checkable

from coop.net import bind_listener
from coop.netpoll.kernelfiles import ListenerFile, SocketFile
from coop.netpoll.openfile import OpenFile
from coop.scheduler import Scheduler
from coop.wasip1.abi import LISTENER_RIGHTS, SOCKET_RIGHTS, Filetype
from coop.wasip1.fdtable import Descriptor


@runtime_checkable
class HasOpenFile(Protocol):
    """A connection or listener of host code, whose open file a guest may share."""

    @property
    def openfile(self) -> OpenFile:
        """The open file."""
        ...


def open_listener(owner: Scheduler, source: Any) -> tuple[Descriptor, Any]:
    """Make a descriptor of "HOST:PORT", a listening socket or a `coop.Listener`; return its address too.

    The listener says NONBLOCK: Go's runtime blocks its whole module on one that does not.
    Raises: OSError; ValueError for an address that is none.
    """
    file: OpenFile
    if isinstance(source, HasOpenFile):
        file = source.openfile.retain()
        address = getattr(source, "address", None)
    else:
        lent = isinstance(source, socket.socket)
        sock = _dup(source) if lent else bind_listener(source)
        try:
            address = sock.getsockname()
            file = ListenerFile(
                sock, f"listener {address}", poller=owner.poller, timers=owner.timers, lent=lent
            )
        except BaseException:
            sock.close()
            raise
    file.nonblock = True
    rights = int(LISTENER_RIGHTS)
    return Descriptor(file, Filetype.SOCKET_STREAM, rights, rights), address


def open_connection(owner: Scheduler, source: Any) -> Descriptor:
    """Make a guest's descriptor of a connected socket or a `coop.Conn`.  Raises: OSError."""
    file: OpenFile
    filetype = Filetype.SOCKET_STREAM
    if isinstance(source, HasOpenFile):
        file = source.openfile.retain()
    else:
        if source.type == socket.SOCK_DGRAM:
            filetype = Filetype.SOCKET_DGRAM
        sock = _dup(source)
        try:
            file = SocketFile(sock, poller=owner.poller, timers=owner.timers, lent=True)
        except BaseException:
            sock.close()
            raise
    return Descriptor(file, filetype, int(SOCKET_RIGHTS), int(SOCKET_RIGHTS))


def _dup(source: socket.socket) -> socket.socket:
    """Duplicate a socket without its time-out, which is Python's alone, and without touching its flags."""
    blocking = os.get_blocking(source.fileno())
    sock = socket.socket(fileno=os.dup(source.fileno()))
    if sock.gettimeout() is not None:
        # A default time-out is set for the process: Python would wait here as long as that.
        sock.settimeout(None)
        os.set_blocking(sock.fileno(), blocking)
    return sock
