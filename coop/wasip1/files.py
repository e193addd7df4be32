"""What is asked of an open file: what it is, where its position stands, how long it is, its times.

What no disk has - a stream, a socket - is no descriptor for most of this: BADF, as
natively.
"""

import os
import struct
from collections.abc import Callable

from coop.fs import MAX_OFFSET, NOW, Directory, RegularFile, Stat, to_stat
from coop.wasip1.abi import FILESTAT, U64, Filetype, Fstflags, Rights, filetype_of_mode
from coop.wasip1.errno import Errno, WasiError
from coop.wasip1.fdtable import Descriptor
from coop.wasip1.state import Wasi

_NOTCAPABLE = int(Errno.NOTCAPABLE)
_INVAL = int(Errno.INVAL)
_WHENCE = (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END)
_ADVICE = (
    os.POSIX_FADV_NORMAL,
    os.POSIX_FADV_SEQUENTIAL,
    os.POSIX_FADV_RANDOM,
    os.POSIX_FADV_WILLNEED,
    os.POSIX_FADV_DONTNEED,
    os.POSIX_FADV_NOREUSE,
)
"""WASI's advice, by its number."""

_BOTH_ATIM = Fstflags.ATIM | Fstflags.ATIM_NOW
_BOTH_MTIM = Fstflags.MTIM | Fstflags.MTIM_NOW


def filestat_values(found: Stat) -> tuple[int, ...]:
    """Return the eight values of a filestat."""
    return (found.dev, found.ino, filetype_of_mode(found.mode), *found[3:])


def _filestat(entry: Descriptor) -> tuple[int, ...]:
    file = entry.file
    if isinstance(file, (RegularFile, Directory)):
        return filestat_values(file.stat())
    if file.fd < 0:
        return (0, 0, int(entry.filetype), 1, 0, 0, 0, 0)
    found = to_stat(os.fstat(file.fd))
    return (found.dev, found.ino, int(entry.filetype), *found[3:])


def fd_filestat_get(wasi: Wasi, fd: int, out: int, layout: struct.Struct = FILESTAT) -> int:
    """Store the 64-byte filestat of a descriptor at `out`: of what is no file, little more than its type.

    Errno: BADF no such descriptor; FAULT an address outside memory; NOTCAPABLE no right to look.
    """
    entry = wasi.fds[fd]
    wasi.memory.check(out, layout.size)
    if not entry.rights & Rights.FD_FILESTAT_GET:
        return _NOTCAPABLE
    layout.pack_into(wasi.memory.view, out, *_filestat(entry))
    return 0


def fd_seek(wasi: Wasi, fd: int, offset: int, whence: int, out: int) -> int:
    """Move a file's position and store the new one at `out`.

    offset -- how far, in bytes, forwards or backwards
    whence -- from where: 0 start, 1 here, 2 end
    Errno: BADF no such descriptor, or a directory; INVAL an unknown whence, or a position that no file
    has; SPIPE a stream has no position; NOTCAPABLE no right to seek, nor to tell if nothing is moved;
    FAULT an address outside memory.
    """
    entry = wasi.fds[fd]
    file = entry.file
    wasi.memory.check(out, 8)
    if whence > 2:
        return _INVAL
    if not isinstance(file, RegularFile):
        return int(Errno.BADF if entry.filetype == Filetype.DIRECTORY else Errno.SPIPE)
    tells = whence == 1 and offset == 0
    if not entry.rights & (Rights.FD_SEEK | (Rights.FD_TELL if tells else 0)):
        return _NOTCAPABLE
    wasi.memory.pack(U64, out, file.seek(offset, _WHENCE[whence]))
    return 0


def fd_tell(wasi: Wasi, fd: int, out: int) -> int:
    """Store a file's position at `out`.

    Errno: BADF no such descriptor, or a directory; SPIPE a stream has no position; NOTCAPABLE no right
    to tell, nor to seek; FAULT an address outside memory.
    """
    return fd_seek(wasi, fd, 0, 1, out)


def fd_advise(wasi: Wasi, fd: int, offset: int, length: int, advice: int) -> int:
    """Say how a range of a file will be used: a hint, for the host's cache.

    offset -- where the range begins, in bytes
    length -- in bytes; 0 is to the end
    advice -- 0 normally, 1 in sequence, 2 at random, 3 soon, 4 not soon, 5 once
    Errno: BADF no such descriptor, or no file; INVAL an unknown advice, or a range that no file has;
    NOTCAPABLE no right to advise.
    """
    file = _regular_file(wasi, fd, Rights.FD_ADVISE)
    if advice >= len(_ADVICE) or offset + length > MAX_OFFSET:
        return _INVAL
    posix = _ADVICE[advice]
    if posix == os.POSIX_FADV_DONTNEED:  # what was written goes to the disk first, however much it is
        return _blocking(wasi, file, lambda: file.advise(offset, length, posix))
    file.advise(offset, length, posix)
    return 0


def fd_allocate(wasi: Wasi, fd: int, offset: int, length: int) -> int:
    """Have room on the disk for a range of a file, which becomes as long as the range needs.

    Natively this is never supported.

    offset, length -- where the range begins and how long it is, in bytes
    Errno: BADF no such descriptor, or no file, or not open for writing; INVAL no bytes, or a range that
    no file has; FBIG the file would be larger than one may be; NOSPC the disk has no room; DQUOT a quota
    has none; NOTCAPABLE no right to allocate; ROFS below a read-only directory; IO.
    """
    file = _regular_file(wasi, fd, Rights.FD_ALLOCATE)
    if length == 0 or offset + length > MAX_OFFSET:
        return _INVAL
    return _blocking(wasi, file, lambda: file.allocate(offset, length))


def fd_sync(wasi: Wasi, fd: int) -> int:
    """Wait until a file or directory is on the disk; only this guest waits.

    Errno: BADF no such descriptor, or no file and no directory; NOTCAPABLE no right to sync;
    NOSPC, DQUOT, IO what writing met.
    """
    file = _on_disk(wasi, fd, Rights.FD_SYNC)
    return _blocking(wasi, file, lambda: file.sync(data_only=False))


def fd_datasync(wasi: Wasi, fd: int) -> int:
    """Wait until a file's bytes are on the disk, though not yet its times; only this guest waits.

    Errno: BADF no such descriptor, or no file and no directory; NOTCAPABLE no right to sync data, nor
    to sync; NOSPC, DQUOT, IO what writing met.
    """
    file = _on_disk(wasi, fd, Rights.FD_DATASYNC | Rights.FD_SYNC)
    return _blocking(wasi, file, lambda: file.sync(data_only=True))


def fd_filestat_set_size(wasi: Wasi, fd: int, size: int) -> int:
    """Cut a file, or make it longer by zeroes; its position stays.

    Errno: BADF no such descriptor, or no file; INVAL a size that no file has, or not open for writing;
    FBIG larger than a file may be; NOSPC the disk is full; DQUOT a quota is; NOTCAPABLE no right to set
    the size; ROFS below a read-only directory; IO.
    """
    file = _regular_file(wasi, fd, Rights.FD_FILESTAT_SET_SIZE)
    if size > MAX_OFFSET:
        return _INVAL
    # A call that is asked again has cut the file, which is small by now.
    if wasi.done or file.takes_long_to_cut(size):
        return _blocking(wasi, file, lambda: file.set_size(size))
    file.set_size(size)
    return 0


def fd_filestat_set_times(wasi: Wasi, fd: int, atime_ns: int, mtime_ns: int, flags: int) -> int:
    """Set the times of a file or directory, in nanoseconds since 1970.

    flags -- ATIM 1 and MTIM 4 set `atime_ns` and `mtime_ns`, ATIM_NOW 2 and MTIM_NOW 8 set now
    Errno: BADF no such descriptor, or no file and no directory; INVAL a flag that does not exist, or both
    of one time; NOTCAPABLE no right to set times; PERM, ACCES somebody else's file; ROFS below a read-only
    directory.
    """
    file = _on_disk(wasi, fd, Rights.FD_FILESTAT_SET_TIMES)
    new = times(atime_ns, mtime_ns, flags)
    if wasi.done or file.is_busy():
        return wasi.in_thread(lambda: file.set_times(*new))
    file.set_times(*new)
    return 0


def times(atime_ns: int, mtime_ns: int, flags: int) -> tuple[int | None, int | None]:
    """Return which times to set, as file systems take them.  Raises: WasiError(INVAL)."""
    both = flags & _BOTH_ATIM == _BOTH_ATIM or flags & _BOTH_MTIM == _BOTH_MTIM
    if both or flags & ~(_BOTH_ATIM | _BOTH_MTIM):
        raise WasiError(Errno.INVAL)
    atime = NOW if flags & Fstflags.ATIM_NOW else atime_ns if flags & Fstflags.ATIM else None
    mtime = NOW if flags & Fstflags.MTIM_NOW else mtime_ns if flags & Fstflags.MTIM else None
    return atime, mtime


def _regular_file(wasi: Wasi, fd: int, right: int) -> RegularFile:
    """Return the regular file that `fd` names.  Raises: WasiError(BADF, NOTCAPABLE)."""
    entry = wasi.fds[fd]
    file = entry.file
    if not isinstance(file, RegularFile):
        raise WasiError(Errno.BADF)
    if not entry.rights & right:
        raise WasiError(Errno.NOTCAPABLE)
    return file


def _on_disk(wasi: Wasi, fd: int, rights: int) -> RegularFile | Directory:
    """Return the file or directory that `fd` names.

    rights -- one of them is needed
    Raises: WasiError(BADF, NOTCAPABLE).
    """
    entry = wasi.fds[fd]
    file = entry.file
    if not isinstance(file, (RegularFile, Directory)):
        raise WasiError(Errno.BADF)
    if not entry.rights & rights:
        raise WasiError(Errno.NOTCAPABLE)
    return file


def _blocking(wasi: Wasi, file: RegularFile | Directory, work: Callable[[], None]) -> int:
    """Do what may block: in a helper thread, unless the file is in memory."""
    if file.fd >= 0:
        return wasi.in_thread(work)
    work()
    return 0
