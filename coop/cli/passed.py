"""Sockets that a service manager opened for the program: descriptors from 3 on.

How they are told of, as `sd_listen_fds` reads it:

    LISTEN_PID      for whom they are: our process, or they are not for us
    LISTEN_FDS      how many
    LISTEN_FDNAMES  their names, with colons between; may be missing

The guest is given nothing that is not asked for, so they are taken only when the command
line says so; then that there are none is an error.  The guest gets them from its own fd 3
on, with LISTEN_FDS and LISTEN_FDNAMES, as it would natively; a process number means nothing to it.
"""

import os
import socket
import stat
from collections.abc import MutableMapping
from dataclasses import dataclass, field

import coop

OPTION = "--listen-fds"
_FIRST = 3
_MOST = 1024


@dataclass(frozen=True, slots=True)
class Passed:
    """What was passed.

    listening -- sockets that listen
    connected -- a manager that accepts by itself passes the connection, and nothing else
    env       -- the variables that tell the guest
    """

    listening: list[socket.socket] = field(default_factory=list)
    connected: list[socket.socket] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)

    def close(self) -> None:
        """Close our descriptors; the guest's are its own."""
        for sock in (*self.listening, *self.connected):
            sock.close()


def take_passed(environ: MutableMapping[str, str], pid: int) -> Passed:
    """Take the sockets that `environ` tells of, and the variables out of it.

    pid -- our process
    Raises: CoopError that says what is missing, or what a descriptor is.
    """
    names = environ.get("LISTEN_FDNAMES")
    count = _count(environ, pid)
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environ.pop(name, None)
    if names is not None and names.count(":") + 1 != count:
        raise coop.CoopError(f"{OPTION}: LISTEN_FDNAMES {names!r} does not name {count} sockets")
    passed = Passed(env={"LISTEN_FDS": str(count)} | ({} if names is None else {"LISTEN_FDNAMES": names}))
    try:
        for fd in range(_FIRST, _FIRST + count):
            sock = _socket(fd)
            listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            (passed.listening if listens else passed.connected).append(sock)
        if passed.listening and passed.connected:
            raise coop.CoopError(f"{OPTION}: listening sockets and connections cannot be passed together")
    except BaseException:
        passed.close()
        raise
    return passed


def _count(environ: MutableMapping[str, str], pid: int) -> int:
    told, owner = environ.get("LISTEN_FDS"), environ.get("LISTEN_PID")
    if told is None:
        raise coop.CoopError(f"{OPTION}: no sockets were passed (LISTEN_FDS is not set)")
    if owner is None or not _is_number(owner) or int(owner) != pid:
        raise coop.CoopError(
            f"{OPTION}: the sockets are for another process (LISTEN_PID is {owner}, not {pid})"
        )
    if not _is_number(told) or not 0 < int(told) <= _MOST:
        raise coop.CoopError(f"{OPTION}: LISTEN_FDS is {told!r}, a number from 1 to {_MOST} wanted")
    return int(told)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _socket(fd: int) -> socket.socket:
    """Take one descriptor, which no program that we start gets."""
    try:
        is_socket = stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        raise coop.CoopError(f"{OPTION}: fd {fd} is not open") from None
    if not is_socket:
        raise coop.CoopError(f"{OPTION}: fd {fd} is no socket")
    os.set_inheritable(fd, False)
    sock = socket.socket(fileno=fd)
    if sock.type != socket.SOCK_STREAM:
        sock.close()
        raise coop.CoopError(f"{OPTION}: fd {fd} is no stream socket")
    return sock
