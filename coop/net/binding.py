"""Listening sockets, made and taken away: an address in, a socket out.

A Unix socket leaves a file behind, and binding is refused where a file is.  So:

1. The file is removed when the listener closes, if it is still the one that was made.
2. A socket's file that nobody listens on any more, as a server that was killed leaves it,
   is taken over.  Whether anybody listens is found out by connecting to it.
3. A file that is no socket, or a socket that somebody listens on, is left alone.
"""

import errno
import os
import socket
import stat
from collections.abc import Callable

from coop.net.resolve import AddressInfo


def bind_tcp(info: AddressInfo, backlog: int) -> socket.socket:
    """Make a listening TCP socket.  Raises: OSError."""
    family, kind, protocol, _, where = info
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_unix(name: str, backlog: int) -> tuple[socket.socket, Callable[[], None]]:
    """Make a listening Unix socket, and the function that removes its file.

    name -- a path, or an abstract name after a NUL
    Raises: OSError.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    remove = _nothing
    try:
        try:
            sock.bind(name)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or name.startswith("\0"):
                raise
            _remove_stale(name)
            sock.bind(name)
        if not name.startswith("\0"):
            remove = _remover(name)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        remove()
        raise
    return sock, remove


def _remove_stale(path: str) -> None:
    """Remove the file of a socket that nobody listens on.  Raises: OSError for anything else."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise FileExistsError(errno.EEXIST, "a file that is no socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        found = probe.connect_ex(path)
    if found != errno.ECONNREFUSED:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    os.unlink(path)


def _remover(name: str) -> Callable[[], None]:
    path = os.path.abspath(name)
    made = os.lstat(path)
    owner = os.getpid()

    def remove() -> None:
        try:
            found = os.lstat(path)
            # A forked child closes its copy of the listener; the parent goes on listening.
            if (found.st_dev, found.st_ino) == (made.st_dev, made.st_ino) and os.getpid() == owner:
                os.unlink(path)
        except OSError:
            pass  # it is gone already, or was never ours to remove

    return remove


def _nothing() -> None:
    """An abstract name goes with its socket."""
