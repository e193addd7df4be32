"""Paths, files and directories: what lies below a pre-opened directory, and nothing else.

A directory is a capability: a descriptor of the host's directory, and every path
of a guest is resolved below it by `contain`.  A path that leaves it gets PERM.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from coop.netpoll.kernelfiles import DiskFile, PipeFile
from coop.netpoll.openfile import OpenFile
from coop.wasip1.abi import (
    DIRECTORY_RIGHTS,
    FILE_RIGHTS,
    FILESTAT,
    LOOKUP_SYMLINK_FOLLOW,
    STREAM_RIGHTS,
    U32,
    Fdflags,
    Filetype,
    Oflags,
    Rights,
    filetype_of_mode,
)
from coop.wasip1.contain import open_beneath, stat_beneath
from coop.wasip1.errno import Errno, WasiError
from coop.wasip1.fdtable import Descriptor
from coop.wasip1.state import Wasi

_NOTCAPABLE = int(Errno.NOTCAPABLE)
_READS = Rights.FD_READ | Rights.FD_READDIR
_OFLAGS = int(Oflags.CREAT | Oflags.DIRECTORY | Oflags.EXCL | Oflags.TRUNC)
_SYNC = {Fdflags.DSYNC: os.O_DSYNC, Fdflags.SYNC: os.O_SYNC, Fdflags.RSYNC: os.O_RSYNC}


@dataclass(frozen=True)
class Dir:
    """A host directory that a guest may use.

    host  -- its path here
    guest -- its name for the guest; the same as here unless given
    Raises: OSError when a guest starts and the directory cannot be opened.
    """

    host: str | os.PathLike[str]
    guest: str | None = None

    @property
    def guest_name(self) -> str:
        """The name the guest sees."""
        return os.fspath(self.host) if self.guest is None else self.guest

    def open(self) -> Descriptor:
        """Open the directory and make the guest's descriptor of it."""
        fd = os.open(self.host, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        file = DiskFile(fd, stat.S_IFDIR, f"directory {Path(self.host)}")
        return Descriptor(
            file,
            Filetype.DIRECTORY,
            int(DIRECTORY_RIGHTS),
            int(DIRECTORY_RIGHTS | FILE_RIGHTS),
            preopen=os.fsencode(self.guest_name),
        )


def filestat(entry: Descriptor) -> tuple[int, ...]:
    """Return the eight values of a descriptor's filestat."""
    if entry.file.fd < 0:
        return (0, 0, int(entry.filetype), 1, 0, 0, 0, 0)
    return _filestat(os.fstat(entry.file.fd), entry.filetype)


def _filestat(found: os.stat_result, filetype: Filetype) -> tuple[int, ...]:
    times = (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)
    return (
        found.st_dev,
        found.st_ino,
        int(filetype),
        found.st_nlink,
        found.st_size,
        *(max(time_ns, 0) for time_ns in times),
    )


def seek(entry: Descriptor, offset: int, whence: int) -> int:
    """Move a descriptor's position and return it.  Raises: OSError; WasiError(INVAL, SPIPE, BADF)."""
    if whence > 2:
        raise WasiError(Errno.INVAL)
    if entry.filetype != Filetype.REGULAR_FILE:
        raise WasiError(Errno.BADF if entry.filetype == Filetype.DIRECTORY else Errno.SPIPE)
    return os.lseek(entry.file.fd, offset, (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END)[whence])


def path_open(
    wasi: Wasi,
    fd: int,
    lookup: int,
    path: int,
    length: int,
    oflags: int,
    rights: int,
    inheriting: int,
    fdflags: int,
    out: int,
) -> int:
    """Open what a path names below the directory `fd` and store the new descriptor at `out`.

    lookup -- SYMLINK_FOLLOW: a link at the end of the path is followed
    oflags -- CREAT, DIRECTORY, EXCL, TRUNC
    rights -- what the guest asks for; it gets what the directory hands on
    Errno: BADF; NOTDIR `fd` or a component is no directory; PERM the path leaves the directory;
    NOENT; EXIST; ISDIR; LOOP; NAMETOOLONG; ILSEQ not UTF-8; INVAL a NUL byte or an unknown
    flag; ACCES; MFILE; NOTCAPABLE the directory hands on no right that is needed; ROFS; NOSPC; FAULT.
    """
    directory = _directory(wasi, fd, Rights.PATH_OPEN)
    wasi.memory.check(out, 4)
    name = wasi.text(path, length)
    if oflags & ~_OFLAGS or fdflags & ~31:
        return int(Errno.INVAL)
    if oflags & Oflags.CREAT and not directory.rights & Rights.PATH_CREATE_FILE:
        return _NOTCAPABLE
    if oflags & Oflags.TRUNC and not directory.rights & Rights.PATH_FILESTAT_SET_SIZE:
        return _NOTCAPABLE
    wasi.fds.check_room()
    rights &= directory.inheriting
    flags = _host_flags(oflags, rights, fdflags)
    # A mode of 0666 before the umask, as every program's open has.
    host_fd = open_beneath(directory.file.fd, name, flags, 0o666, follow=bool(lookup & LOOKUP_SYMLINK_FOLLOW))
    entry = _describe(wasi, host_fd, name, rights, inheriting & directory.inheriting, fdflags)
    wasi.memory.pack(U32, out, wasi.fds.add(entry))
    return 0


def _host_flags(oflags: int, rights: int, fdflags: int) -> int:
    # Only the right to write means writing: Go asks for FD_FILESTAT_SET_SIZE when it opens for reading.
    reads, writes = bool(rights & _READS), bool(rights & Rights.FD_WRITE)
    if oflags & Oflags.DIRECTORY:
        flags = os.O_RDONLY | os.O_DIRECTORY
    else:
        flags = os.O_RDWR if reads and writes else os.O_WRONLY if writes else os.O_RDONLY
    if oflags & Oflags.CREAT:
        flags |= os.O_CREAT
    if oflags & Oflags.EXCL:
        flags |= os.O_EXCL
    if oflags & Oflags.TRUNC:
        flags |= os.O_TRUNC
    if fdflags & Fdflags.APPEND:
        flags |= os.O_APPEND
    for wasi_flag, host_flag in _SYNC.items():
        if fdflags & wasi_flag:
            flags |= host_flag
    return flags


def _describe(wasi: Wasi, fd: int, name: bytes, rights: int, inheriting: int, fdflags: int) -> Descriptor:
    """Make the descriptor of a host descriptor just opened; closes it if that fails."""
    mode = os.fstat(fd).st_mode
    filetype = filetype_of_mode(mode)
    what = f"file {name.decode(errors='replace')}"
    file: OpenFile
    if stat.S_ISDIR(mode):
        file = DiskFile(fd, mode, what)
        rights &= int(DIRECTORY_RIGHTS)
    elif stat.S_ISREG(mode):
        file = DiskFile(fd, mode, what)
        rights &= int(FILE_RIGHTS)
    else:
        scheduler = wasi.scheduler
        try:
            file = PipeFile(
                fd,
                mode,
                what,
                poller=scheduler.poller,
                timers=scheduler.timers,
                await_writer=stat.S_ISFIFO(mode) and not rights & Rights.FD_WRITE,
            )
        except BaseException:
            os.close(fd)
            raise
        rights &= int(STREAM_RIGHTS)
    file.nonblock = bool(fdflags & Fdflags.NONBLOCK)
    return Descriptor(file, filetype, rights, inheriting, fdflags & ~int(Fdflags.NONBLOCK))


def path_filestat_get(wasi: Wasi, fd: int, lookup: int, path: int, length: int, out: int) -> int:
    """Store the filestat of what a path names below the directory `fd` at `out`.

    lookup -- SYMLINK_FOLLOW: a link at the end of the path is followed
    Errno: BADF; NOTDIR; PERM the path leaves the directory; NOENT; LOOP; NAMETOOLONG; ILSEQ;
    INVAL; ACCES; NOTCAPABLE; FAULT.
    """
    directory = _directory(wasi, fd, Rights.PATH_FILESTAT_GET)
    wasi.memory.check(out, FILESTAT.size)
    name = wasi.text(path, length)
    found = stat_beneath(directory.file.fd, name, follow=bool(lookup & LOOKUP_SYMLINK_FOLLOW))
    wasi.memory.pack(FILESTAT, out, *_filestat(found, filetype_of_mode(found.st_mode)))
    return 0


def _directory(wasi: Wasi, fd: int, right: int) -> Descriptor:
    entry = wasi.fds[fd]
    if entry.filetype != Filetype.DIRECTORY:
        raise WasiError(Errno.NOTDIR)
    if not entry.rights & right:
        raise WasiError(Errno.NOTCAPABLE)
    return entry
