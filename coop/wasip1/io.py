"""Bytes through descriptors.

Every pointer is checked before anything has an effect, so a call that fails with
FAULT has changed nothing.
"""

from coop.netpoll.contract import READ, WRITE
from coop.netpoll.openfile import BLOCKED
from coop.wasip1.abi import U32
from coop.wasip1.errno import Errno
from coop.wasip1.state import Wasi

_BADF, _AGAIN = int(Errno.BADF), int(Errno.AGAIN)
_pack_u32 = U32.pack_into


def fd_read(wasi: Wasi, fd: int, iovs: int, count: int, nread: int) -> int:
    """Read into the buffers `iovs[0:count]`; stores the number of bytes at `nread`, 0 at the end.

    Errno: BADF no such descriptor, or one that is not open for reading, as a directory never is;
    FAULT an address outside memory; AGAIN nothing yet and the file is non-blocking; NOTCONN a
    listener; CONNRESET the peer reset the connection; IO.
    """
    entry = wasi.get_fd(fd)
    if entry is None:
        return _BADF
    file = entry.reads
    if file is None:
        return _BADF
    if not file.ready & READ and file.nonblock and not file.worth_trying(READ):
        return _AGAIN
    memory = wasi.memory
    if nread + 4 > memory.size:
        memory.check(nread, 4)
    if count == 1:
        buffer = wasi.buffer(iovs)
        got = file.read_one(buffer) if buffer else 0
    else:
        buffers = wasi.buffers(iovs, count)
        got = file.try_read(buffers) if buffers else 0
    if got == BLOCKED:
        if file.nonblock and not file.runs_user_code:
            return _AGAIN
        return wasi.block_on(file, READ)
    _pack_u32(memory.view, nread, got)
    return 0


def fd_write(wasi: Wasi, fd: int, iovs: int, count: int, nwritten: int) -> int:
    """Write the buffers `iovs[0:count]`; stores the number of bytes taken at `nwritten`.

    Errno: BADF no such descriptor, or one that is not open for writing; FAULT an address outside
    memory; AGAIN no room and the file is non-blocking; PIPE nobody reads any more; NOTCONN a
    listener; CONNRESET; NOSPC, DQUOT, FBIG the disk's limits; IO.
    """
    entry = wasi.get_fd(fd)
    if entry is None:
        return _BADF
    file = entry.writes
    if file is None:
        return _BADF
    memory = wasi.memory
    if nwritten + 4 > memory.size:
        memory.check(nwritten, 4)
    if count == 1:
        buffer = wasi.buffer(iovs)
        put = file.write_one(buffer) if buffer else 0
    else:
        buffers = wasi.buffers(iovs, count)
        put = file.try_write(buffers) if buffers else 0
    if put == BLOCKED:
        if file.nonblock and not file.runs_user_code:
            return _AGAIN
        return wasi.block_on(file, WRITE)
    _pack_u32(memory.view, nwritten, put)
    return 0
