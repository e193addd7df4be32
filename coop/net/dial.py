"""From an address to a listener, or to a connection."""

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from coop.clock import to_ns
from coop.errors import CoopError, DeadlineExceeded
from coop.net.address import Address, host_and_port, shown, spelled, unix_name
from coop.net.binding import bind_tcp, bind_unix
from coop.net.conn import Conn, Listener
from coop.net.resolve import AddressInfo, resolve
from coop.netpoll.contract import BOTH, WRITE
from coop.netpoll.kernelfiles import SocketFile
from coop.netpoll.listenerfile import ListenerFile
from coop.scheduler import Scheduler, scheduler
from coop.slips import check_number

_MOST_BACKLOG = (1 << 31) - 1
"""What fits into the system call; the kernel takes less."""


def listen(address: Address, *, backlog: int = 1024) -> Listener:
    """Listen on "HOST:PORT", a pair of both, "unix:PATH" or "unix:@NAME".

    Port 0 is any free one (see `Listener.address`).  The file of a Unix socket is made with the
    permissions that the umask leaves, and removed when the listener closes; one that a server left
    which is gone is replaced.
    Raises: OSError that names the address, for a path also if another file is there or somebody
    listens on it; ValueError for an address that is none.
    """
    check_number("backlog", backlog, least=0, whole=True)
    backlog = min(backlog, _MOST_BACKLOG)
    owner = scheduler()
    remove: Callable[[], object] | None = None
    name = unix_name(address)
    try:
        if name is None:
            sock = bind_tcp(resolve(*host_and_port(address), flags=socket.AI_PASSIVE)[0], backlog)
        else:
            sock, remove = bind_unix(name, backlog)
    except OSError as error:
        raise _named(error, "listen on", address) from None
    try:
        what = f"listener {shown(spelled(sock.getsockname()))}"
        file = ListenerFile(sock, what, poller=owner.poller, timers=owner.timers, on_close=remove)
    except BaseException:
        sock.close()
        if remove is not None:
            remove()
        raise
    return Listener(owner, file)


def connect(address: Address, *, timeout: float | None = None) -> Conn:
    """Connect to an address as `listen` takes it; the addresses a name stands for are tried in order.

    timeout -- seconds for the whole attempt
    Raises: OSError that names the address; DeadlineExceeded; ValueError.
    """
    owner = scheduler()
    until_ns = None if timeout is None else owner.now_ns() + to_ns(timeout)
    name = unix_name(address)
    found: list[AddressInfo] = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", name)]
    error: OSError = socket.gaierror(socket.EAI_NONAME, "the name has no address")
    try:
        if name is None:
            found = resolve(*host_and_port(address), until_ns=until_ns)
        for family, kind, protocol, _, where in found:
            try:
                return _connect(owner, socket.socket(family, kind, protocol), where, until_ns)
            except OSError as failed:
                error = failed
    except OSError as failed:
        error = failed
    if isinstance(error, CoopError):
        raise error
    raise _named(error, "connect to", address) from None


def _named(error: OSError, doing: str, address: Address) -> OSError:
    """Return the same error with a message that names the address."""
    return OSError(error.errno, f"{doing} {shown(address)}: {error.strerror}")


def _connect(owner: Scheduler, sock: socket.socket, where: Any, until_ns: int | None) -> Conn:
    """Connect a new socket, which is closed if that fails."""
    what = f"connection to {shown(spelled(where))}"
    try:
        sock.setblocking(False)
        _begin_to_connect(owner, sock, where, until_ns)
        # Registered only now: before connect() a socket reports a hangup.
        file = SocketFile(sock, what, poller=owner.poller, timers=owner.timers)
    except BaseException:
        sock.close()
        raise
    try:
        file.ready = 0  # a fresh file passes for ready, and this one waits for an event
        if until_ns is not None:
            file.set_deadline(BOTH, until_ns, owner.now_ns())
        file.wait(WRITE, "make")
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        if until_ns is not None:
            file.set_deadline(BOTH, None, owner.now_ns())
    except BaseException:
        file.release()
        raise
    return Conn(owner, file)


def _begin_to_connect(owner: Scheduler, sock: socket.socket, where: Any, until_ns: int | None) -> None:
    pause_ns = 1_000_000
    while True:
        found = sock.connect_ex(where)
        if found in (0, errno.EINPROGRESS):
            return
        if found != errno.EAGAIN or sock.family != socket.AF_UNIX:
            raise OSError(found, os.strerror(found))
        # The backlog of a Unix listener is full: it has to be tried again, and no event says when.
        now_ns = owner.now_ns()
        if until_ns is not None:
            if now_ns >= until_ns:
                raise DeadlineExceeded(f"connect to {shown(spelled(where))}: i/o timeout")
            pause_ns = min(pause_ns, until_ns - now_ns)
        owner.sleep_ns(pause_ns)
        pause_ns = min(2 * pause_ns, 50_000_000)
