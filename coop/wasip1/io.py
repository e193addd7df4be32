"""Bytes through descriptors.

Every pointer is checked before anything has an effect, so a call that fails with
FAULT has changed nothing.
"""

from coop.fs import MAX_OFFSET, RegularFile
from coop.netpoll.contract import READ, WRITE
from coop.netpoll.openfile import BLOCKED, OpenFile
from coop.wasip1.abi import U32, Filetype, Rights
from coop.wasip1.errno import Errno, WasiError
from coop.wasip1.fdtable import Descriptor
from coop.wasip1.state import Wasi

_BADF, _AGAIN = int(Errno.BADF), int(Errno.AGAIN)
_pack_u32 = U32.pack_into


def fd_read(wasi: Wasi, fd: int, iovs: int, count: int, nread: int) -> int:
    """Read into the buffers `iovs[0:count]`; stores the number of bytes at `nread`, 0 at the end.

    iovs -- an array of `count` addresses and lengths; those behind the 1024th are left alone
    Errno: BADF no such descriptor, or one without the right to read, as a directory always is; FAULT an
    address outside memory; AGAIN nothing yet and the file is non-blocking; NOTCONN a listener, or never
    connected; CONNRESET the peer reset the connection; CONNREFUSED nobody received an earlier datagram;
    TIMEDOUT the host set a deadline; IO the host could not read.
    """
    file = wasi.fds[fd].reads
    if file is None:
        return _BADF
    if not file.ready & READ:
        if file.nonblock:
            if not file.worth_trying(READ):
                return _AGAIN
        elif file.is_known:
            return wasi.block_on(file, READ)  # and the buffers are looked at when something has come
    memory = wasi.memory
    if nread + 4 > memory.size:
        memory.check(nread, 4)
    if count == 1:
        at, length = wasi.extent(iovs)
        got = file.read_at(memory, at, length) if length else 0
    else:
        buffers = wasi.buffers(iovs, count)
        got = file.try_read(buffers) if buffers else 0
    if got == BLOCKED:
        if file.nonblock and not file.must_wait:
            return _AGAIN
        return wasi.block_on(file, READ)
    _pack_u32(memory.view, nread, got)
    return 0


def fd_write(wasi: Wasi, fd: int, iovs: int, count: int, nwritten: int) -> int:
    """Write the buffers `iovs[0:count]`; stores the number of bytes taken at `nwritten`.

    iovs -- an array of `count` addresses and lengths; those behind the 1024th are left alone
    Errno: BADF no such descriptor, or one without the right to write; FAULT an address outside memory;
    AGAIN no room and the file is non-blocking; PIPE nobody reads any more, or ever did; NOTCONN a
    listener; CONNRESET the peer reset the connection; CONNREFUSED nobody received an earlier datagram;
    MSGSIZE a datagram that is too long; DESTADDRREQ a datagram socket that is not connected; TIMEDOUT the
    host set a deadline; NOSPC the disk is full; DQUOT a quota is; FBIG the file would be larger than one
    may be; IO the host could not write.
    """
    file = wasi.fds[fd].writes
    if file is None:
        return _BADF
    memory = wasi.memory
    if nwritten + 4 > memory.size:
        memory.check(nwritten, 4)
    if count == 1:
        at, length = wasi.extent(iovs)
        put = file.write_at(memory, at, length) if length else 0
    else:
        buffers = wasi.buffers(iovs, count)
        put = file.try_write(buffers) if buffers else 0
    if put == BLOCKED:
        if file.nonblock and not file.must_wait:
            return _AGAIN
        return wasi.block_on(file, WRITE)
    _pack_u32(memory.view, nwritten, put)
    return 0


def fd_pread(wasi: Wasi, fd: int, iovs: int, count: int, offset: int, nread: int) -> int:
    """Read a file from `offset` on, and leave its position; otherwise as `fd_read`.

    iovs, count, nread -- as for `fd_read`
    offset -- in bytes from the start
    Errno: BADF no such descriptor, or one without the right to read, as a directory always is; SPIPE
    a stream has no positions; NOTCAPABLE no right to seek; INVAL an offset that no file has; FAULT an
    address outside memory; IO the host could not read.
    """
    entry = wasi.fds[fd]
    file = _positioned(entry, entry.reads)
    wasi.memory.check(nread, 4)
    buffers = wasi.buffers(iovs, count)
    _require_offset(offset, buffers)
    got = file.pread(buffers, offset) if buffers else 0
    if got == BLOCKED:
        return wasi.block_on(file, READ)
    _pack_u32(wasi.memory.view, nread, got)
    return 0


def fd_pwrite(wasi: Wasi, fd: int, iovs: int, count: int, offset: int, nwritten: int) -> int:
    """Write a file from `offset` on, and leave its position; otherwise as `fd_write`.

    A file that appends is written at its end wherever `offset` is, as on Linux.

    iovs, count, nwritten -- as for `fd_write`
    offset -- in bytes from the start
    Errno: BADF no such descriptor, or one without the right to write; SPIPE a stream has no
    positions; NOTCAPABLE no right to seek; INVAL an offset that no file has; FAULT an address outside
    memory; NOSPC the disk is full; DQUOT a quota is; FBIG the file would be larger than one may be;
    IO the host could not write.
    """
    entry = wasi.fds[fd]
    file = _positioned(entry, entry.writes)
    wasi.memory.check(nwritten, 4)
    buffers = wasi.buffers(iovs, count)
    _require_offset(offset, buffers)
    put = file.pwrite(buffers, offset) if buffers else 0
    if put == BLOCKED:
        return wasi.block_on(file, WRITE)
    _pack_u32(wasi.memory.view, nwritten, put)
    return 0


def _positioned(entry: Descriptor, file: OpenFile | None) -> RegularFile:
    """Return `file`, which the entry may read or write, if it may do so at any position.

    Raises: WasiError(BADF, SPIPE, NOTCAPABLE).
    """
    if file is None:
        raise WasiError(Errno.BADF)
    if not isinstance(file, RegularFile):
        raise WasiError(Errno.BADF if entry.filetype == Filetype.DIRECTORY else Errno.SPIPE)
    if not entry.rights & Rights.FD_SEEK:
        raise WasiError(Errno.NOTCAPABLE)
    return file


def _require_offset(offset: int, buffers: list[memoryview]) -> None:
    """Refuse a range whose end no file has.  Raises: WasiError(INVAL)."""
    if offset + sum(map(len, buffers)) > MAX_OFFSET:
        raise WasiError(Errno.INVAL)
