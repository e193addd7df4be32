"""Sockets: accept, receive, send, shut down.  Preview 1 cannot make one; they are pre-opened."""

import socket

from coop.netpoll.contract import READ, WRITE
from coop.netpoll.kernelfiles import SocketFile
from coop.netpoll.listenerfile import ListenerFile
from coop.netpoll.openfile import BLOCKED
from coop.wasip1.abi import (
    RECV_DATA_TRUNCATED,
    RECV_PEEK,
    RECV_WAITALL,
    SHUT_RD,
    SHUT_WR,
    SOCKET_RIGHTS,
    U16,
    U32,
    Fdflags,
    Filetype,
    Rights,
)
from coop.wasip1.errno import Errno, WasiError
from coop.wasip1.fdtable import Descriptor
from coop.wasip1.state import Wasi

_INVAL, _AGAIN, _NOTCAPABLE = int(Errno.INVAL), int(Errno.AGAIN), int(Errno.NOTCAPABLE)
_HOW = {SHUT_RD: socket.SHUT_RD, SHUT_WR: socket.SHUT_WR, SHUT_RD | SHUT_WR: socket.SHUT_RDWR}


def sock_accept(wasi: Wasi, fd: int, flags: int, out: int) -> int:
    """Accept a connection on a listener and store its descriptor at `out`; parks until a client comes.

    flags -- NONBLOCK makes the new connection non-blocking
    Errno: BADF no such descriptor; NOTSOCK no socket; INVAL not a listener, or another flag; AGAIN
    nobody waits and the listener is non-blocking; MFILE the guest's or the host's table is full, and
    the client can still be accepted; NOTCAPABLE no right to accept; FAULT `out` is outside memory.
    """
    entry = wasi.fds[fd]
    listener = entry.file
    if entry.filetype not in (Filetype.SOCKET_STREAM, Filetype.SOCKET_DGRAM):
        return int(Errno.NOTSOCK)
    if not isinstance(listener, ListenerFile) or flags & ~Fdflags.NONBLOCK:
        return _INVAL
    if not entry.rights & Rights.SOCK_ACCEPT:
        return _NOTCAPABLE
    wasi.memory.check(out, 4)
    wasi.fds.check_room()
    connection = listener.try_accept()
    if connection is None:
        if listener.nonblock:
            return _AGAIN
        return wasi.block_on(listener, READ)
    poller, timers = wasi.scheduler.poller, wasi.scheduler.timers
    try:
        file = SocketFile(connection, poller=poller, timers=timers)
    except OSError:
        connection.close()
        raise
    file.nonblock = bool(flags & Fdflags.NONBLOCK)
    number = wasi.fds.add(Descriptor(file, Filetype.SOCKET_STREAM, SOCKET_RIGHTS, SOCKET_RIGHTS))
    wasi.memory.pack(U32, out, number)
    return 0


def sock_recv(wasi: Wasi, fd: int, iovs: int, count: int, flags: int, nread: int, out_flags: int) -> int:
    """Receive into the buffers; stores the number of bytes at `nread`, 0 at the end; parks if there are none.

    iovs, count -- the buffers, as for `fd_read`
    flags     -- PEEK leaves the bytes in place; WAITALL, without PEEK, waits until the buffers are full
    out_flags -- DATA_TRUNCATED a datagram was longer than the buffers
    Errno: BADF no such descriptor; NOTSOCK no socket; NOTCONN a listener, or never connected; INVAL
    another flag; AGAIN nothing yet and the socket is non-blocking; CONNRESET the peer reset the
    connection; CONNREFUSED nobody received an earlier datagram; TIMEDOUT the host set a deadline;
    NOTCAPABLE no right to read; FAULT an address outside memory.
    """
    file = _connection(wasi, fd, Rights.FD_READ)
    if flags & ~(RECV_PEEK | RECV_WAITALL):
        return _INVAL
    wasi.memory.check(nread, 4)
    wasi.memory.check(out_flags, 2)
    buffers = wasi.buffers(iovs, count)
    got, message_flags = 0, 0
    if buffers and file.is_stream and not flags & RECV_PEEK:
        got = _receive_all(wasi, file, buffers) if flags & RECV_WAITALL else file.try_read(buffers)
    elif buffers or not file.is_stream:  # a datagram is taken whole, room or not
        got, message_flags = file.try_recv(buffers, socket.MSG_PEEK if flags & RECV_PEEK else 0)
    if got == BLOCKED:
        if file.nonblock:
            return _AGAIN
        try:
            return wasi.block_on(file, READ)
        except OSError:
            wasi.received = 0  # the call ends here, and the next one must not go on with its bytes
            raise
    U32.pack_into(wasi.memory.view, nread, got)
    truncated = RECV_DATA_TRUNCATED if message_flags & socket.MSG_TRUNC else 0
    U16.pack_into(wasi.memory.view, out_flags, truncated)
    return 0


def _receive_all(wasi: Wasi, file: SocketFile, buffers: list[memoryview]) -> int:
    """Receive until the buffers are full; BLOCKED, remembering what came so far, if the guest has to wait.

    The kernel's own MSG_WAITALL means nothing on a non-blocking socket, and counting by
    peeking would never end where more is wanted than the kernel holds.
    """
    done, wasi.received = wasi.received, 0
    wanted = sum(map(len, buffers))
    while done < wanted:
        # An error is told once and must not look like an end, so what came before it is lost.
        got = file.try_read(_rest(buffers, done))
        if got == BLOCKED and not (file.nonblock and done):
            wasi.received = done
            return BLOCKED
        if got <= 0:
            break
        done += got
    return done


def _rest(buffers: list[memoryview], done: int) -> list[memoryview]:
    """Return what is left of `buffers` after their first `done` bytes, which is not nothing."""
    rest = []
    for buffer in buffers:
        if done < len(buffer):
            rest.append(buffer[done:])
        done = max(done - len(buffer), 0)
    return rest


def sock_send(wasi: Wasi, fd: int, iovs: int, count: int, flags: int, nwritten: int) -> int:
    """Send the buffers; stores the number of bytes taken at `nwritten`; parks while there is no room.

    iovs, count -- the buffers, as for `fd_write`
    flags -- 0: there is none
    Errno: BADF no such descriptor; NOTSOCK no socket; NOTCONN a listener; INVAL any flag; AGAIN no room
    and the socket is non-blocking; PIPE, CONNRESET the peer is gone, or never was there; MSGSIZE a
    datagram that is too long; DESTADDRREQ a datagram socket that is not connected; CONNREFUSED nobody
    received an earlier datagram; TIMEDOUT the host set a deadline; NOTCAPABLE no right to write;
    FAULT an address outside memory.
    """
    file = _connection(wasi, fd, Rights.FD_WRITE)
    if flags:
        return _INVAL
    wasi.memory.check(nwritten, 4)
    buffers = wasi.buffers(iovs, count)
    # An empty datagram is one.
    put = file.try_write(buffers) if buffers or not file.is_stream else 0
    if put == BLOCKED:
        if file.nonblock:
            return _AGAIN
        return wasi.block_on(file, WRITE)
    U32.pack_into(wasi.memory.view, nwritten, put)
    return 0


def sock_shutdown(wasi: Wasi, fd: int, how: int) -> int:
    """Shut down receiving (1), sending (2) or both (3).

    A connection that is shared with host code is shut down for both.
    Errno: BADF no such descriptor; NOTSOCK no socket; NOTCONN not connected, or a listener; INVAL
    another `how`; NOTCAPABLE no right to shut down.
    """
    file = _connection(wasi, fd, Rights.SOCK_SHUTDOWN)
    if how not in _HOW:
        return _INVAL
    file.shutdown(_HOW[how])
    return 0


def _connection(wasi: Wasi, fd: int, right: int) -> SocketFile:
    entry = wasi.fds[fd]
    if entry.filetype not in (Filetype.SOCKET_STREAM, Filetype.SOCKET_DGRAM):
        raise WasiError(Errno.NOTSOCK)
    if not entry.rights & right:
        raise WasiError(Errno.NOTCAPABLE)
    if not isinstance(entry.file, SocketFile):
        raise WasiError(Errno.NOTCONN)
    return entry.file
