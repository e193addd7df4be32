"""Bytes through descriptors: fd_read, fd_write, and what is asked of any descriptor.

Every pointer is checked before anything has an effect, so a call that fails with
FAULT has changed nothing.
"""

from coop.netpoll.contract import READ, WRITE
from coop.netpoll.openfile import BLOCKED
from coop.wasip1.abi import FDSTAT, FILESTAT, PRESTAT, U32, U64, Fdflags, Filetype, Rights
from coop.wasip1.errno import Errno, WasiError
from coop.wasip1.fdtable import Descriptor
from coop.wasip1.files import filestat, seek
from coop.wasip1.state import Wasi

_BADF, _AGAIN, _NOTCAPABLE = int(Errno.BADF), int(Errno.AGAIN), int(Errno.NOTCAPABLE)
_pack_u32 = U32.pack_into
_NONBLOCK = int(Fdflags.NONBLOCK)


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


def fd_close(wasi: Wasi, fd: int) -> int:
    """Close a descriptor, a pre-opened one too.

    Errno: BADF no such descriptor; IO and NOSPC what a delayed write met.
    """
    entry = wasi.fds.take(fd)
    wasi.poll.forget(entry.file)
    entry.file.release()
    return 0


def fd_fdstat_get(wasi: Wasi, fd: int, out: int) -> int:
    """Store the 24-byte fdstat of a descriptor at `out`.  Errno: BADF; FAULT."""
    entry = wasi.fds[fd]
    flags = entry.fdflags | (_NONBLOCK if entry.file.nonblock else 0)
    wasi.memory.pack(FDSTAT, out, entry.filetype, flags, entry.rights, entry.inheriting)
    return 0


def fd_fdstat_set_flags(wasi: Wasi, fd: int, flags: int) -> int:
    """Set a descriptor's flags; NONBLOCK belongs to the open file and shows through every dup.

    Errno: BADF; INVAL a flag that does not exist; NOTSUP one that cannot be changed (DSYNC,
    RSYNC, SYNC); NOTCAPABLE without the right to.
    """
    entry = wasi.fds[fd]
    if flags & ~int(Fdflags.APPEND | Fdflags.DSYNC | Fdflags.NONBLOCK | Fdflags.RSYNC | Fdflags.SYNC):
        return int(Errno.INVAL)
    if not entry.rights & Rights.FD_FDSTAT_SET_FLAGS:
        return _NOTCAPABLE
    keep = int(Fdflags.DSYNC | Fdflags.RSYNC | Fdflags.SYNC)
    if (flags ^ entry.fdflags) & keep:
        return int(Errno.NOTSUP)
    entry.file.set_append(bool(flags & Fdflags.APPEND))
    entry.file.nonblock = bool(flags & _NONBLOCK)
    entry.fdflags = flags & ~_NONBLOCK
    return 0


def fd_prestat_get(wasi: Wasi, fd: int, out: int) -> int:
    """Store the prestat of a pre-opened descriptor at `out`: a tag and the length of its name.

    Sockets have one too, with a tag and a name that no directory has.  BADF ends a
    guest's scan, so a socket that answered BADF would hide the directories behind it.
    Errno: BADF no such descriptor, or not pre-opened; FAULT.
    """
    entry = _preopened(wasi, fd)
    assert entry.preopen is not None
    tag = 0 if entry.filetype == Filetype.DIRECTORY else 1
    wasi.memory.pack(PRESTAT, out, tag, len(entry.preopen))
    return 0


def fd_prestat_dir_name(wasi: Wasi, fd: int, out: int, length: int) -> int:
    """Store a pre-opened descriptor's name at `out`, without a NUL.

    Errno: BADF no such descriptor, or not pre-opened; NAMETOOLONG the name is longer than
    `length`; FAULT.
    """
    name = _preopened(wasi, fd).preopen
    assert name is not None
    if len(name) > length:
        return int(Errno.NAMETOOLONG)
    wasi.memory.write(out, name)
    return 0


def _preopened(wasi: Wasi, fd: int) -> Descriptor:
    entry = wasi.fds[fd]
    if entry.preopen is None:
        raise WasiError(Errno.BADF)
    return entry


def fd_filestat_get(wasi: Wasi, fd: int, out: int) -> int:
    """Store the 64-byte filestat of a descriptor at `out`.  Errno: BADF; FAULT; NOTCAPABLE; IO."""
    entry = wasi.fds[fd]
    wasi.memory.check(out, FILESTAT.size)
    if not entry.rights & Rights.FD_FILESTAT_GET:
        return _NOTCAPABLE
    wasi.memory.pack(FILESTAT, out, *filestat(entry))
    return 0


def fd_seek(wasi: Wasi, fd: int, offset: int, whence: int, out: int) -> int:
    """Move a file's position (whence: 0 start, 1 here, 2 end) and store the new one at `out`.

    Errno: BADF no such descriptor, or a directory; INVAL an unknown whence, or a position before
    the start; SPIPE a stream has no position; NOTCAPABLE; FAULT.
    """
    entry = wasi.fds[fd]
    wasi.memory.check(out, 8)
    if entry.filetype == Filetype.REGULAR_FILE:
        tells = whence == 1 and offset == 0
        if not entry.rights & (Rights.FD_SEEK | (Rights.FD_TELL if tells else 0)):
            return _NOTCAPABLE
    wasi.memory.pack(U64, out, seek(entry, offset, whence))
    return 0


def fd_tell(wasi: Wasi, fd: int, out: int) -> int:
    """Store a file's position at `out`.  Errno: BADF; SPIPE; NOTCAPABLE; FAULT."""
    return fd_seek(wasi, fd, 0, 1, out)
