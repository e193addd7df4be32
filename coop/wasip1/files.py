"""What is asked of an open file: what it is, and where its position stands."""

import os

from coop.fs import Directory, RegularFile, Stat, to_stat
from coop.wasip1.abi import FILESTAT, U64, Filetype, Rights, filetype_of_mode
from coop.wasip1.errno import Errno
from coop.wasip1.fdtable import Descriptor
from coop.wasip1.state import Wasi

_NOTCAPABLE = int(Errno.NOTCAPABLE)
_WHENCE = (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END)


def filestat_values(found: Stat) -> tuple[int, ...]:
    """Return the eight values of a filestat."""
    return (found.dev, found.ino, int(filetype_of_mode(found.mode)), *found[3:])


def _filestat(entry: Descriptor) -> tuple[int, ...]:
    file = entry.file
    if isinstance(file, (RegularFile, Directory)):
        return filestat_values(file.stat())
    if file.fd < 0:
        return (0, 0, int(entry.filetype), 1, 0, 0, 0, 0)
    found = to_stat(os.fstat(file.fd))
    return (found.dev, found.ino, int(entry.filetype), *found[3:])


def fd_filestat_get(wasi: Wasi, fd: int, out: int) -> int:
    """Store the 64-byte filestat of a descriptor at `out`.  Errno: BADF; FAULT; NOTCAPABLE; IO."""
    entry = wasi.fds[fd]
    wasi.memory.check(out, FILESTAT.size)
    if not entry.rights & Rights.FD_FILESTAT_GET:
        return _NOTCAPABLE
    wasi.memory.pack(FILESTAT, out, *_filestat(entry))
    return 0


def fd_seek(wasi: Wasi, fd: int, offset: int, whence: int, out: int) -> int:
    """Move a file's position (whence: 0 start, 1 here, 2 end) and store the new one at `out`.

    Errno: BADF no such descriptor, or a directory; INVAL an unknown whence, or a position before
    the start; SPIPE a stream has no position; NOTCAPABLE; FAULT.
    """
    entry = wasi.fds[fd]
    file = entry.file
    wasi.memory.check(out, 8)
    if whence > 2:
        return int(Errno.INVAL)
    if not isinstance(file, RegularFile):
        return int(Errno.BADF if entry.filetype == Filetype.DIRECTORY else Errno.SPIPE)
    tells = whence == 1 and offset == 0
    if not entry.rights & (Rights.FD_SEEK | (Rights.FD_TELL if tells else 0)):
        return _NOTCAPABLE
    wasi.memory.pack(U64, out, file.seek(offset, _WHENCE[whence]))
    return 0


def fd_tell(wasi: Wasi, fd: int, out: int) -> int:
    """Store a file's position at `out`.  Errno: BADF; SPIPE; NOTCAPABLE; FAULT."""
    return fd_seek(wasi, fd, 0, 1, out)
